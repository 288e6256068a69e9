//! Acquiring a name.

use std::time::Duration;

use lease_core::{AcquireRequest, Acquired, ErrorKind, ExpiryJudge, Grant, Result};

use crate::{
    Documents,
    attempt::{Attempt, Look, Until},
    record::{NewGrant, Record, micros},
    seen::Seen,
    shared::Shared,
};

pub(crate) async fn acquire<D: Documents>(shared: &Shared<D>, request: &AcquireRequest) -> Result<Acquired> {
    let mut attempt = Attempt::new(shared, "acquire", &request.name);
    let limits = &shared.capabilities;
    if !(limits.min_ttl..=limits.max_ttl).contains(&request.ttl) {
        let message = format!(
            "the ttl of lease {} must be between {:?} and {:?}, but it is {:?}",
            request.name, limits.min_ttl, limits.max_ttl, request.ttl
        );
        return Err(attempt.context().error(ErrorKind::Invalid, message));
    }
    loop {
        let last = match attempt.look().await? {
            Look::Written(seen) => return Ok(granted(&seen)),
            Look::Absent => None,
            Look::Found(seen) => Some(seen),
        };
        if let Some(seen) = &last {
            if seen.record.belongs_to(&request.holder, request.grant) {
                // The same attempt again: its grant, or nothing if that has ended (S13).
                if !seen.is_held() {
                    return Ok(Acquired::Spent);
                }
                if !seen.left.at_least.is_zero() {
                    return Ok(granted(seen));
                }
                // Nothing shows how much is left. A new write says so to everybody.
                if let Some(seen) = attempt.write(seen.next(), Some(&seen.version), Until::NotShorter).await? {
                    return Ok(granted(&seen));
                }
                continue;
            }
            if seen.is_in_force() && !seen.is_reserved_for(request) {
                return Ok(Acquired::Held {
                    by: seen.inspect(&request.name),
                    retry_after: Some(retry_after(shared, seen)),
                });
            }
        }
        let record = new_grant(shared, &attempt, request, last.as_ref())?;
        if let Some(seen) = attempt.write(record, last.as_ref().map(|seen| &seen.version), Until::FromNow).await? {
            return Ok(granted(&seen));
        }
    }
}

fn granted(seen: &Seen) -> Acquired {
    Acquired::Granted(Grant::new(seen.fencing_token(), seen.left.at_least))
}

/// Returns when to try again. A contender that watches is told how long it has to (S2). The width of a clock's interval is no
/// part of the answer: it is narrower by then.
fn retry_after<D: Documents>(shared: &Shared<D>, seen: &Seen) -> Duration {
    match shared.capabilities.expiry_judge {
        ExpiryJudge::Contenders => seen.left.at_most,
        _ if seen.foreign.is_some() => seen.left.at_most,
        _ => seen.left.at_most.min(seen.record.lasts()),
    }
}

fn new_grant<D: Documents>(
    shared: &Shared<D>,
    attempt: &Attempt<'_, D>,
    request: &AcquireRequest,
    last: Option<&Seen>,
) -> Result<Record> {
    let floor = last.map_or(0, Seen::token).checked_add(1);
    let floor = floor.ok_or_else(|| attempt.conclude(attempt.context().no_greater_token()))?;
    let store_time = shared.store_time();
    // The client's wall clock is no floor: it may be wrong by years (S3).
    let counted = store_time.map_or(floor, |time| floor.max(micros(time.earliest)));
    let from_version = shared.about.tokens_from_versions;
    Ok(Record::grant(NewGrant {
        name: &request.name,
        holder: &request.holder,
        grant: request.grant,
        token: (!from_version).then_some(counted),
        token_floor: from_version.then_some(floor),
        acquired_at: store_time.map_or_else(wall_clock, |time| time.earliest),
        ttl: request.ttl,
        metadata: &request.metadata,
        announce: request.announce,
    }))
}

/// Returns the wall-clock time, which is shown to people who inspect a lease. No decision depends on it (S3).
#[expect(clippy::disallowed_methods, reason = "the wall-clock time is wanted, and nothing is measured with it")]
fn wall_clock() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
