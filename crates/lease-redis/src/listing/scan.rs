//! Scans the database for leases. Redis has no order of keys, so each page of a list scans the whole database once, in small
//! steps, and keeps the least names.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::SystemTime};

use fred::prelude::Value;
use lease_core::{ErrorKind, LeaseName, LeaseRecord, Result};

use super::LIST;
use crate::{
    connections::{CallOptions, Connection, Primary},
    error::redis_error,
    failure::Access,
    operations::{Inspect, Inspected, perform},
    reply::{is_ask, is_redirection, is_try_again},
    shared::Shared,
};

/// How many keys the server examines in one step.
const SCAN_STEP: u32 = 500;

/// Returns at most `limit` leases in force whose names begin with `prefix` and come after `after`, in order. Returns `None` if the
/// database was not scanned as a whole.
pub(super) async fn scan(
    shared: &Shared,
    prefix: &str,
    after: Option<&LeaseName>,
    limit: usize,
) -> Result<Option<Vec<LeaseRecord>>> {
    let mut page = Page { prefix, after, records: BTreeMap::new(), limit };
    let is_whole = walk(shared, prefix, &mut page).await?;
    Ok(is_whole.then(|| page.records.into_values().collect()))
}

/// Returns whether the database has a record of a grant from before `moment`, in force or not, by the server's clock. Returns
/// `None` if none was found, but the database was not scanned as a whole.
pub(super) async fn has_grant_from_before(shared: &Shared, moment: SystemTime) -> Result<Option<bool>> {
    let mut search = Search { moment, has_found: false };
    let is_whole = walk(shared, "", &mut search).await?;
    Ok((is_whole || search.has_found).then_some(search.has_found))
}

/// What a walk is for.
trait Visitor {
    /// Returns whether the record of this name is of interest.
    fn wants(&self, name: &LeaseName) -> bool;

    /// Takes a record. Ends the walk if it is enough.
    fn visit(&mut self, inspected: Inspected) -> ControlFlow<()>;
}

/// Visits the records whose names begin with `prefix`. Returns false if a connection was replaced meanwhile, or slots of a Cluster
/// have moved: the steps at one server are of no use at another. Returns false, too, if the visitor has ended the walk.
async fn walk(shared: &Shared, prefix: &str, visitor: &mut impl Visitor) -> Result<bool> {
    let error = |failure| shared.error(LIST, failure);
    let (connections, pattern) = (shared.connections(), shared.keys().pattern(prefix));
    let (mut primaries, map) = connections.primaries(shared.keys()).await.map_err(error)?;
    let (original, mut at) = (primaries.len(), 0);
    while let Some(Primary { connection, probe_key }) = primaries.get(at).cloned() {
        at += 1;
        connections.connected(&connection, Access::Read).await.map_err(error)?;
        let generation = connection.generation();
        let mut cursor = Some("0".to_owned());
        while let Some(at) = cursor {
            let (next, names) = step(shared, &connection, &at, &pattern).await?;
            let names: Vec<LeaseName> = names.into_iter().filter(|name| visitor.wants(name)).collect();
            for inspected in perform(&Inspect, shared, &names).await {
                match inspected {
                    Ok(inspected) => {
                        if visitor.visit(inspected).is_break() {
                            return Ok(false);
                        }
                    }
                    // A key of other software that begins with the prefix.
                    Err(error) if error.kind() == ErrorKind::Invalid => {}
                    Err(error) => return Err(error),
                }
            }
            cursor = next;
        }
        // A replica answers `SCAN` as well. The script that inspects a key detects it (S19).
        if let Some(probe_key) = probe_key {
            let options = CallOptions::new(Access::Read, None);
            let arguments = || (vec![probe_key.clone()], vec![shared.retention()]);
            match connections.run_on(&connection, &shared.scripts().inspect, options, &arguments).await {
                // The answer of the server that has the slot and is moving it away. A replica does not answer so.
                Err(failure) if is_try_again(&failure.source) || is_ask(&failure.source) => {}
                // Another server has the slot by now.
                Err(failure) if is_redirection(&failure.source) => return Ok(false),
                inspected => drop(inspected.map_err(error)?),
            }
        }
        // Keys that have been moved already are there, perhaps since that server was scanned.
        if at <= original {
            for target in connections.migration_targets(&connection).await.map_err(error)? {
                if !primaries[at..].iter().any(|primary| Arc::ptr_eq(&primary.connection, &target)) {
                    primaries.push(Primary { connection: target, probe_key: None });
                }
            }
        }
        if connection.generation() != generation {
            return Ok(false);
        }
    }
    connections.is_unchanged(map.as_ref()).await.map_err(error)
}

/// Makes one step of a scan. Returns the cursor of the next step, if there is one, and the names of this one.
async fn step(
    shared: &Shared,
    connection: &Arc<Connection>,
    cursor: &str,
    pattern: &str,
) -> Result<(Option<String>, Vec<LeaseName>)> {
    let mut arguments: Vec<Value> = vec![cursor.to_owned().into(), Value::from_static_str("MATCH")];
    arguments.extend([pattern.to_owned().into(), Value::from_static_str("COUNT"), SCAN_STEP.into()]);
    arguments.extend(["TYPE", "string"].map(Value::from_static_str));
    let connections = shared.connections();
    let answer = connections.query(connection, "SCAN", arguments).await;
    let answer = answer.map_err(|failure| shared.error(LIST, failure))?;
    let (next, keys): (String, Vec<String>) = answer.convert().map_err(|_| {
        let message = format!("the answer of {} to SCAN could not be parsed", connections.server());
        redis_error(ErrorKind::Unavailable, LIST, message)
    })?;
    Ok(((next != "0").then_some(next), keys.iter().filter_map(|key| shared.keys().name(key)).collect()))
}

/// The least names so far that come after `after`, at most `limit`.
struct Page<'a> {
    prefix: &'a str,
    after: Option<&'a LeaseName>,
    records: BTreeMap<LeaseName, LeaseRecord>,
    limit: usize,
}

impl Visitor for Page<'_> {
    /// Returns whether the name is on this page, as far as is known.
    fn wants(&self, name: &LeaseName) -> bool {
        name.as_str().starts_with(self.prefix)
            && self.after.is_none_or(|after| name > after)
            && (self.records.len() < self.limit || self.records.last_key_value().is_some_and(|(last, _)| name < last))
    }

    fn visit(&mut self, inspected: Inspected) -> ControlFlow<()> {
        if let Inspected::Held(record) = inspected {
            self.records.insert(record.name.clone(), record);
            if self.records.len() > self.limit {
                self.records.pop_last();
            }
        }
        ControlFlow::Continue(())
    }
}

/// A search for a grant from before a moment.
struct Search {
    moment: SystemTime,
    has_found: bool,
}

impl Visitor for Search {
    fn wants(&self, _: &LeaseName) -> bool {
        true
    }

    fn visit(&mut self, inspected: Inspected) -> ControlFlow<()> {
        let acquired_at = match inspected {
            Inspected::Held(record) => record.acquired_at,
            Inspected::Ended { acquired_at, .. } => acquired_at,
            Inspected::Absent => return ControlFlow::Continue(()),
        };
        self.has_found = acquired_at < self.moment;
        if self.has_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lease_core::{FencingToken, HolderId};

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
        let mut page = Page { prefix: "", after: None, records: BTreeMap::new(), limit: 2 };
        for name in ["c", "a", "d", "a", "b"] {
            if page.wants(&record(name).name) {
                let _ = page.visit(Inspected::Held(record(name)));
            }
        }
        let names: Vec<_> = page.records.keys().map(LeaseName::as_str).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(!page.wants(&record("c").name));
    }
}
