//! Looking at leases, and breaking them.

use std::{collections::BTreeMap, sync::Arc};

use fred::prelude::Value;
use lease_core::{Break, ErrorKind, FencingToken, LeaseName, LeaseRecord, Released, Result};

use crate::{
    answer::Answer,
    batch::{Operation, perform},
    call::{Access, Asked, Target},
    error::here,
    lane::Lane,
    release::{is_in_silence, may_be_own_doing, released},
    scripts::Script,
    store::Inner,
};

/// How many keys the server looks at in one step of a scan.
const SCAN_STEP: u32 = 500;

const LIST: &str = "list";

impl Inner {
    pub(crate) async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        perform(&Look, self, std::slice::from_ref(name)).await.pop().unwrap_or(Ok(None))
    }

    /// Redis has no order of keys: each page walks over the whole database once, in small steps, and keeps what is least.
    pub(crate) async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        for _ in 0..2 {
            if let Some(page) = self.walk(prefix, after, limit).await? {
                return Ok(page.records.into_values().collect());
            }
        }
        Err(here(ErrorKind::Unavailable, LIST, "the connection was replaced while the names were listed: try again"))
    }

    /// Nothing where the connection became another one meanwhile: the steps of one server say nothing of those of another.
    async fn walk(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Option<Page>> {
        let error = |failure| self.error(LIST, failure);
        let (connections, pattern) = (self.connections(), self.keys().pattern(prefix));
        let mut page = Page { records: BTreeMap::new(), limit };
        let lane = connections.pick();
        let nodes = connections.primaries(&lane, self.keys()).await.map_err(error)?;
        let generation = lane.generation();
        for node in nodes {
            let mut cursor = "0".to_owned();
            loop {
                let (next, keys) = self.scan_step(&lane, &node.target, &cursor, &pattern).await?;
                let names: Vec<LeaseName> = keys
                    .iter()
                    .filter_map(|key| self.keys().name(key))
                    .filter(|name| name.as_str().starts_with(prefix) && after.is_none_or(|after| name > after))
                    .filter(|name| page.wants(name))
                    .collect();
                for record in perform(&Look, self, &names).await {
                    match record {
                        Ok(Some(record)) => page.add(record),
                        Ok(None) => {}
                        // Somebody else's key that happens to begin as ours.
                        Err(error) if error.kind() == ErrorKind::Invalid => {}
                        Err(error) => return Err(error),
                    }
                }
                if next == "0" {
                    break;
                }
                cursor = next;
            }
            // A replica scans as well. A look at any key finds it out (S19).
            let look = || (vec![node.a_key.clone()], vec![self.retention()]);
            connections.run_on(&lane, &self.scripts().look, Access::Read, look, None).await.map_err(error)?;
            if lane.generation() != generation {
                return Ok(None);
            }
        }
        Ok(Some(page))
    }

    pub(crate) async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        let request = BreakRequest { name: name.clone(), token, how };
        perform(&BreakLease, self, &[request]).await.pop().unwrap_or(Ok(Released::NotHeld))
    }

    async fn scan_step(
        &self,
        lane: &Arc<Lane>,
        node: &Target,
        cursor: &str,
        pattern: &str,
    ) -> Result<(String, Vec<String>)> {
        let mut words: Vec<Value> = vec![cursor.to_owned().into(), Value::from_static_str("MATCH")];
        words.extend([pattern.to_owned().into(), Value::from_static_str("COUNT"), SCAN_STEP.into()]);
        words.extend(["TYPE", "string"].map(Value::from_static_str));
        let step =
            self.connections().ask(lane, node, "SCAN", words).await.map_err(|failure| self.error(LIST, failure))?;
        let unreadable = |_| here(ErrorKind::Unavailable, LIST, "the answer could not be read");
        step.convert().map_err(unreadable)
    }
}

/// The least names so far, and no more than are wanted.
struct Page {
    records: BTreeMap<LeaseName, LeaseRecord>,
    limit: usize,
}

impl Page {
    fn wants(&self, name: &LeaseName) -> bool {
        self.records.len() < self.limit || self.records.last_key_value().is_some_and(|(last, _)| name < last)
    }

    fn add(&mut self, record: LeaseRecord) {
        self.records.insert(record.name.clone(), record);
        if self.records.len() > self.limit {
            self.records.pop_last();
        }
    }
}

struct Look;

impl Operation for Look {
    const NAME: &'static str = "inspect";
    const ACCESS: Access = Access::Read;
    type Request = LeaseName;
    type Answer = Option<LeaseRecord>;

    fn script<'a>(&self, store: &'a Inner) -> &'a Script {
        &store.scripts().look
    }

    fn name<'a>(&self, request: &'a LeaseName) -> &'a LeaseName {
        request
    }

    fn said_of_all(&self, _request: &LeaseName, _into: &mut Vec<Value>) {}

    fn word(&self, _request: &LeaseName) -> Option<Value> {
        None
    }

    fn read(&self, request: &LeaseName, answer: &Answer) -> Option<Option<LeaseRecord>> {
        match answer.kind() {
            "free" => Some(None),
            "held" => Some(Some(answer.record(request)?)),
            _ => None,
        }
    }
}

struct BreakRequest {
    name: LeaseName,
    token: FencingToken,
    how: Break,
}

struct BreakLease;

impl Operation for BreakLease {
    const NAME: &'static str = "break";
    type Request = BreakRequest;
    type Answer = Released;

    fn script<'a>(&self, store: &'a Inner) -> &'a Script {
        &store.scripts().break_lease
    }

    fn name<'a>(&self, request: &'a BreakRequest) -> &'a LeaseName {
        &request.name
    }

    fn said_of_all(&self, request: &BreakRequest, into: &mut Vec<Value>) {
        let how = match request.how {
            Break::AfterExpiry => "afterexpiry",
            Break::Now => "now",
        };
        into.push(Value::from_static_str(how));
    }

    fn word(&self, request: &BreakRequest) -> Option<Value> {
        Some(request.token.to_string().into())
    }

    fn read(&self, _request: &BreakRequest, answer: &Answer) -> Option<Released> {
        released(answer)
    }

    fn may_be_own_doing(answer: &Answer, asked: Asked) -> bool {
        may_be_own_doing(answer, asked)
    }

    fn is_in_silence(answer: &Answer) -> bool {
        is_in_silence(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use lease_core::HolderId;

    use super::*;

    #[test]
    fn a_page_keeps_the_least_names_and_no_more() {
        let record = |name: &str| {
            LeaseRecord::new(
                LeaseName::new(name).unwrap(),
                HolderId::new("a").unwrap(),
                FencingToken::new(1).unwrap(),
                Duration::ZERO,
                Duration::ZERO,
            )
            .with_acquired_at(SystemTime::UNIX_EPOCH)
        };
        let mut page = Page { records: BTreeMap::new(), limit: 2 };
        for name in ["c", "a", "d", "a", "b"] {
            if page.wants(&record(name).name) {
                page.add(record(name));
            }
        }
        let names: Vec<_> = page.records.keys().map(LeaseName::as_str).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(!page.wants(&record("c").name));
    }
}
