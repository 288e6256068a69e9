//! The requests about keys. Every read is consistent.

use std::time::Duration;

use lease_core::{ErrorKind, Result};
use lease_document::{Sample, http::Answer};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;

use crate::{
    error::{Access, denied, of_answer, of_network, store_error, wrong_answer},
    http::{index, is_filtered},
    kv::{CONSISTENT, Kv},
    transaction::{MAX_OPERATIONS, Transacted},
    wire::{KeyOperation, Pair},
};

/// All keys below the prefix, as a blocking query has found them.
#[derive(Debug)]
pub(crate) struct All {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) index: u64,
    /// The length of the answer.
    pub(crate) bytes: usize,
}

impl Kv {
    /// Checks that an agent answers, and that the token may read and write below the prefix. Changes nothing.
    pub(crate) async fn check(&self, limit: Duration) -> Result<()> {
        let (operation, access, probe) = ("connect", Access::Connect, self.keys.probe());
        self.get::<Pair>(operation, access, &probe, &[], Some(limit)).await?;
        // No key ever has this index, so this is always refused: for this reason, or for another one.
        let write = KeyOperation::write(&probe, b"", u64::MAX);
        match self.transact(operation, access, vec![write], Some(limit)).await? {
            (Transacted::Conflict, _) => Ok(()),
            _ => Err(wrong_answer(operation, access)),
        }
    }

    /// Reads one key.
    pub(crate) async fn read(&self, key: &str) -> Result<(Option<Pair>, Option<Sample>)> {
        let (operation, access) = ("read", Access::Read);
        let (mut pairs, answer) = self.get::<Pair>(operation, access, key, &[], None).await?;
        let pair = pairs.pop();
        if pair.as_ref().is_some_and(|pair| pair.key != key) {
            return Err(wrong_answer(operation, access));
        }
        Ok((pair, answer.clock()))
    }

    /// Writes a key if it has this index; 0 if it is not there. Returns the new index, or `None` if it has another one.
    pub(crate) async fn write(&self, key: &str, value: &[u8], index: u64) -> Result<(Option<u64>, Option<Sample>)> {
        let (operation, access) = ("write", Access::Write);
        let write = KeyOperation::write(key, value, index);
        match self.transact(operation, access, vec![write], None).await? {
            (Transacted::Conflict, clock) => Ok((None, clock)),
            (Transacted::Done(pairs), clock) if pairs.len() == 1 && pairs[0].key == key => {
                Ok((Some(pairs[0].modify_index), clock))
            }
            _ => Err(wrong_answer(operation, access)),
        }
    }

    /// Deletes a key if it has this index. Returns whether it did; a key that is not there any more counts as deleted.
    pub(crate) async fn delete(&self, key: &str, index: u64) -> Result<bool> {
        let (operation, access) = ("purge", Access::Write);
        match self.transact(operation, access, vec![KeyOperation::delete(key, index)], None).await? {
            (Transacted::Done(_), _) => Ok(true),
            (Transacted::Conflict, _) => Ok(false),
            (Transacted::Absent, _) => Err(wrong_answer(operation, access)),
        }
    }

    /// Lists the keys that begin with this, without their values.
    pub(crate) async fn keys(&self, begin_with: &str) -> Result<Vec<String>> {
        let (keys, _) = self.get("list", Access::Read, begin_with, &[("keys", "")], None).await?;
        self.is_it_all("list", &keys, None).await?;
        Ok(keys)
    }

    /// Reads these keys, many in each request. Those that have gone meanwhile are left out.
    pub(crate) async fn values(&self, keys: &[String]) -> Result<(Vec<Pair>, Option<Sample>)> {
        let (operation, access) = ("list", Access::Read);
        let (mut found, mut clock) = (Vec::new(), None);
        for keys in keys.chunks(MAX_OPERATIONS) {
            let reads = keys.iter().map(|key| KeyOperation::read(key)).collect();
            match self.transact(operation, access, reads, None).await? {
                // What the token may not read is left out in silence.
                (Transacted::Done(pairs), _) if pairs.len() < keys.len() => {
                    return Err(denied(operation, self.keys.prefix(), "Permission denied for some of the keys"));
                }
                (Transacted::Done(pairs), sample) => {
                    found.extend(pairs);
                    clock = sample;
                }
                (Transacted::Absent, _) => {
                    for key in keys {
                        let (pair, sample) = self.read(key).await?;
                        found.extend(pair);
                        clock = sample;
                    }
                }
                (Transacted::Conflict, _) => return Err(wrong_answer(operation, access)),
            }
        }
        Ok((found, clock))
    }

    /// Reads all keys below the prefix with their values: at once without an index, else when something has changed since that index,
    /// or when `wait` has passed.
    pub(crate) async fn all(&self, since: Option<u64>, wait: Duration, limit: Duration) -> Result<All> {
        let (operation, access) = ("watch", Access::Read);
        let (since, wait) = (since.map(|index| index.to_string()), format!("{}ms", wait.as_millis()));
        let mut query = vec![("recurse", "")];
        if let Some(since) = &since {
            query.extend([("index", since.as_str()), ("wait", wait.as_str())]);
        }
        let (pairs, answer) = self.get(operation, access, self.keys.prefix(), &query, Some(limit)).await?;
        self.is_it_all(operation, &pairs, Some(limit)).await?;
        let index = index(&answer).ok_or_else(|| wrong_answer(operation, access))?;
        Ok(All { pairs, index, bytes: answer.body.len() })
    }

    /// A list leaves out what the token may not read, and is then like one of nothing. A read of a key tells them apart (S19).
    async fn is_it_all<T>(&self, operation: &'static str, listed: &[T], limit: Option<Duration>) -> Result<()> {
        if listed.is_empty() {
            self.get::<Pair>(operation, Access::Read, &self.keys.probe(), &[], limit).await?;
        }
        Ok(())
    }

    /// Sends a read, and returns what it has found: nothing, if Consul says that there is nothing.
    async fn get<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        access: Access,
        key: &str,
        query: &[(&str, &str)],
        limit: Option<Duration>,
    ) -> Result<(Vec<T>, Answer)> {
        let query = [query, &[CONSISTENT]].concat();
        let answer = self.http.get(&format!("/v1/kv/{key}"), &query, limit).await;
        let answer = answer.map_err(|error| of_network(operation, access, error))?;
        let prefix = self.keys.prefix();
        if is_filtered(&answer) {
            return Err(denied(operation, prefix, "Permission denied for some of the keys"));
        }
        match (answer.status, index(&answer)) {
            // Without an index it is the answer of a server that does not know the path (S19).
            (StatusCode::NOT_FOUND, Some(_)) => Ok((Vec::new(), answer)),
            (StatusCode::OK, Some(_)) => {
                let found = serde_json::from_slice(&answer.body).map_err(|_| wrong_answer(operation, access))?;
                Ok((found, answer))
            }
            (StatusCode::OK, None) => {
                let message = "the answer has no index: is this the address of a Consul agent's HTTP API?";
                Err(store_error(ErrorKind::Invalid, operation, message))
            }
            _ => Err(of_answer(operation, access, prefix, &answer)),
        }
    }
}
