//! Transactions: the one way to write on condition that answers with the new index.

use std::time::Duration;

use lease_core::{ErrorKind, Result};
use lease_document::Sample;
use reqwest::StatusCode;

use crate::{
    error::{Access, of_answer, of_network, store_error, wrong_answer},
    kv::{CONSISTENT, Kv},
    wire::{Done, KeyOperation, Operation, Pair, Refused},
};

/// The most operations of a transaction.
pub(crate) const MAX_OPERATIONS: usize = 64;

/// What became of a transaction.
#[derive(Debug)]
pub(crate) enum Transacted {
    /// It was done as a whole.
    Done(Vec<Pair>),
    /// It was refused: a key has another index.
    Conflict,
    /// It was refused: a key is not there.
    Absent,
}

impl Kv {
    /// Sends a transaction, with a time limit of its own if there is one.
    pub(crate) async fn transact(
        &self,
        operation: &'static str,
        access: Access,
        operations: Vec<KeyOperation<'_>>,
        limit: Option<Duration>,
    ) -> Result<(Transacted, Option<Sample>)> {
        let (namespace, partition) = (self.namespace.as_deref(), self.partition.as_deref());
        let body: Vec<_> = operations.into_iter().map(|kv| Operation { kv: kv.within(namespace, partition) }).collect();
        let body = serde_json::to_vec(&body).map_err(|error| {
            store_error(ErrorKind::Internal, operation, "a transaction cannot be written as JSON").with_source(error)
        })?;
        let answer = self.http.put("/v1/txn", &[CONSISTENT], body, limit).await;
        let answer = answer.map_err(|error| of_network(operation, access, error))?;
        let clock = answer.clock();
        if answer.status == StatusCode::OK {
            let done: Done = serde_json::from_slice(&answer.body).map_err(|_| wrong_answer(operation, access))?;
            let pairs = done.results.unwrap_or_default().into_iter().map(|outcome| outcome.kv).collect();
            return Ok((Transacted::Done(pairs), clock));
        }
        if answer.status == StatusCode::CONFLICT
            && let Ok(refused) = serde_json::from_slice::<Refused>(&answer.body)
        {
            if refused.is_conflict() {
                return Ok((Transacted::Conflict, clock));
            }
            if refused.is_absence() {
                return Ok((Transacted::Absent, clock));
            }
        }
        Err(of_answer(operation, access, self.keys.prefix(), &answer))
    }
}
