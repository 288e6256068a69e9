//! Looking at leases, and breaking them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fred::prelude::Value;
use lease_core::{Break, ErrorKind, FencingToken, LeaseName, LeaseRecord, Released, Result};

use crate::{
    answer::Answer,
    batch::{Operation, perform},
    call::{Access, Asked, Manner, Node, Way},
    error::{here, is_ask, is_redirection, is_try_again},
    lane::Lane,
    release::{is_in_silence, may_be_own_doing, released},
    scripts::Script,
    store::Inner,
};

/// How many keys the server looks at in one step of a scan.
const SCAN_STEP: u32 = 500;

pub(crate) const LIST: &str = "list";

/// How often a walk begins anew because something has changed meanwhile.
const ATTEMPTS: u32 = 3;

impl Inner {
    pub(crate) async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        let looked = perform(&Look, self, std::slice::from_ref(name)).await.pop();
        looked.transpose().map(|looked| looked.and_then(Looked::record))
    }

    /// By the index, where that knows all names. Redis has no order of keys: otherwise each page walks over the whole database once, in
    /// small steps, and keeps what is least.
    pub(crate) async fn list(
        self: &Arc<Self>,
        prefix: &str,
        after: Option<&LeaseName>,
        limit: usize,
    ) -> Result<Vec<LeaseRecord>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        if let Some(records) = self.list_by_index(prefix, after, limit).await? {
            return Ok(records);
        }
        for _ in 0..ATTEMPTS {
            if let Some(page) = self.walk(prefix, after, limit).await? {
                return Ok(page.records.into_values().collect());
            }
        }
        let message =
            "a connection was replaced, or names have moved to another server, while they were listed: try again";
        Err(here(ErrorKind::Unavailable, LIST, message))
    }

    /// Nothing where a connection became another one meanwhile, or slots of a Cluster have moved: the steps of one server say
    /// nothing of those of another.
    async fn walk(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Option<Page>> {
        let error = |failure| self.error(LIST, failure);
        let (connections, pattern) = (self.connections(), self.keys().pattern(prefix));
        let mut page = Page { records: BTreeMap::new(), limit };
        let (mut nodes, map) = connections.primaries(self.keys()).await.map_err(error)?;
        let mut at = 0;
        while let Some(Node { lane, a_key }) = nodes.get(at).cloned() {
            at += 1;
            connections.connected(&lane, Access::Read).await.map_err(error)?;
            let generation = lane.generation();
            let mut cursor = Some("0".to_owned());
            while let Some(at) = cursor {
                let (next, names) = self.scan_step(&lane, &at, &pattern).await?;
                let names: Vec<LeaseName> = names
                    .into_iter()
                    .filter(|name| name.as_str().starts_with(prefix) && after.is_none_or(|after| name > after))
                    .filter(|name| page.wants(name))
                    .collect();
                for record in perform(&Look, self, &names).await {
                    match record {
                        Ok(Looked::Held(record)) => page.add(record),
                        Ok(Looked::Over { .. } | Looked::Gone) => {}
                        // Somebody else's key that happens to begin as ours.
                        Err(error) if error.kind() == ErrorKind::Invalid => {}
                        Err(error) => return Err(error),
                    }
                }
                cursor = next;
            }
            // A replica scans as well. A look at any key finds it out (S19).
            if let Some(a_key) = a_key {
                let manner = Manner { way: Way::Plain, access: Access::Read, wait: None, has_failed: false };
                let look = || (vec![a_key.clone()], vec![self.retention()]);
                let looked = connections.run_on(&lane, &self.scripts().look, manner, &look).await;
                match looked {
                    // Whoever has the slot, and no replica, says this while it is moving away.
                    Err(failure) if is_try_again(&failure.source) || is_ask(&failure.source) => {}
                    // It is another one's by now.
                    Err(failure) if is_redirection(&failure.source) => return Ok(None),
                    looked => drop(looked.map_err(error)?),
                }
            }
            // What has moved already is there.
            for heir in connections.heirs_of(&lane).await.map_err(error)? {
                if !nodes.iter().any(|node| Arc::ptr_eq(&node.lane, &heir)) {
                    nodes.push(Node { lane: heir, a_key: None });
                }
            }
            if lane.generation() != generation {
                return Ok(None);
            }
        }
        Ok(connections.are_still(map.as_ref()).await.map_err(error)?.then_some(page))
    }

    /// Whether the database remembers a grant from before that, in force or not, by the clock of the server.
    pub(crate) async fn remembers_from_before(&self, moment: SystemTime) -> Result<bool> {
        let (nodes, _) =
            self.connections().primaries(self.keys()).await.map_err(|failure| self.error(LIST, failure))?;
        let pattern = self.keys().pattern("");
        for Node { lane, .. } in nodes {
            let mut cursor = Some("0".to_owned());
            while let Some(at) = cursor {
                let (next, names) = self.scan_step(&lane, &at, &pattern).await?;
                for looked in perform(&Look, self, &names).await {
                    let acquired_at = match looked {
                        Ok(Looked::Held(record)) => record.acquired_at,
                        Ok(Looked::Over { acquired_at, .. }) => acquired_at,
                        Ok(Looked::Gone) => continue,
                        // Somebody else's key that happens to begin as ours.
                        Err(error) if error.kind() == ErrorKind::Invalid => continue,
                        Err(error) => return Err(error),
                    };
                    if acquired_at < moment {
                        return Ok(true);
                    }
                }
                cursor = next;
            }
        }
        Ok(false)
    }

    pub(crate) async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        let request = BreakRequest { name: name.clone(), token, how };
        perform(&BreakLease, self, &[request]).await.pop().unwrap_or(Ok(Released::NotHeld))
    }

    /// Where the next step begins, if there is one, and the names of this one.
    async fn scan_step(
        &self,
        lane: &Arc<Lane>,
        cursor: &str,
        pattern: &str,
    ) -> Result<(Option<String>, Vec<LeaseName>)> {
        let mut words: Vec<Value> = vec![cursor.to_owned().into(), Value::from_static_str("MATCH")];
        words.extend([pattern.to_owned().into(), Value::from_static_str("COUNT"), SCAN_STEP.into()]);
        words.extend(["TYPE", "string"].map(Value::from_static_str));
        let step = self.connections().ask(lane, "SCAN", words).await.map_err(|failure| self.error(LIST, failure))?;
        let unreadable = |_| here(ErrorKind::Unavailable, LIST, "the answer could not be read");
        let (next, keys): (String, Vec<String>) = step.convert().map_err(unreadable)?;
        Ok(((next != "0").then_some(next), keys.iter().filter_map(|key| self.keys().name(key)).collect()))
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

pub(crate) struct Look;

/// What there is of a lease.
pub(crate) enum Looked {
    Held(LeaseRecord),
    /// It was granted, and has been free since.
    Over {
        since: Duration,
        acquired_at: SystemTime,
    },
    Gone,
}

impl Looked {
    fn record(self) -> Option<LeaseRecord> {
        match self {
            Self::Held(record) => Some(record),
            Self::Over { .. } | Self::Gone => None,
        }
    }
}

impl Operation for Look {
    const NAME: &'static str = "inspect";
    const ACCESS: Access = Access::Read;
    type Request = LeaseName;
    type Answer = Looked;

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

    fn read(&self, request: &LeaseName, answer: &Answer) -> Option<Looked> {
        match answer.kind() {
            "held" => answer.record(request).map(Looked::Held),
            "over" => Some(Looked::Over {
                since: answer.duration(1),
                acquired_at: SystemTime::UNIX_EPOCH + answer.duration(2),
            }),
            "gone" => Some(Looked::Gone),
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
