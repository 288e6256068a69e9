//! A row of the table, as a statement read it, and its meaning for a request.

use std::time::{Duration, SystemTime};

use lease_core::{
    AcquireRequest, Acquired, Claim, FencingToken, Grant, GrantId, HolderId, LeaseName, LeaseRecord, LossReason,
    Metadata,
};
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use crate::failure::Failure;

/// The columns of `sql/state.sql`.
#[derive(Debug, Clone)]
pub(crate) struct State {
    name: String,
    holder: HolderId,
    token: FencingToken,
    acquired_at: SystemTime,
    ttl: Duration,
    /// Zero if it has expired.
    remaining: Duration,
    metadata: Option<String>,
    grant: Option<GrantId>,
    /// Whether this library made the last grant. Otherwise other software did, and the columns of this library are stale.
    is_ours: bool,
    ended: Option<Ended>,
    reserved_for: Option<HolderId>,
}

/// How a grant of this library was ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Released,
    Broken,
}

impl State {
    /// Reads the state in a row. Returns `None` if the row has none, as from an outer join.
    pub(crate) fn read(row: &PgRow) -> Result<Option<Self>, sqlx::Error> {
        let Some(name) = row.try_get::<Option<String>, _>("lease_name")? else {
            return Ok(None);
        };
        let token = row.try_get::<i64, _>("token")?;
        Ok(Some(Self {
            name,
            holder: HolderId::from_store(row.try_get("holder_id")?),
            token: token_from(token)?,
            acquired_at: SystemTime::UNIX_EPOCH + microseconds(row.try_get("acquired_us")?),
            ttl: microseconds(row.try_get("ttl_us")?),
            remaining: microseconds(row.try_get("remaining_us")?),
            metadata: row.try_get("metadata")?,
            grant: row.try_get::<Option<Uuid>, _>("grant_id")?.map(|id| GrantId::from_u128(id.as_u128())),
            is_ours: row.try_get("is_ours")?,
            ended: row.try_get::<Option<&str>, _>("grant_ended")?.map(|ended| match ended {
                "released" => Ended::Released,
                _ => Ended::Broken,
            }),
            reserved_for: row.try_get::<Option<&str>, _>("reserved_for")?.map(HolderId::from_store),
        }))
    }

    /// Returns whether this is the row of this name, and not of another one that the collation takes for equal.
    pub(crate) fn is_of(&self, name: &LeaseName) -> bool {
        self.name == name.as_str()
    }

    /// Returns the answer to a request that was not granted, or `None` if the name is free by now: the request is then tried
    /// again.
    pub(crate) fn answer(&self, request: &AcquireRequest) -> Option<Acquired> {
        if self.grant == Some(request.grant) {
            return Some(match self.is_grant_in_force() {
                true if self.holder == request.holder => Acquired::Granted(self.grant_of(request)),
                true => self.held(),
                false => Acquired::Spent,
            });
        }
        let is_reserved_for_it =
            self.is_ours && self.ended == Some(Ended::Released) && self.reserved_for.as_ref() == Some(&request.holder);
        (!self.remaining.is_zero() && !is_reserved_for_it).then(|| self.held())
    }

    /// Returns why a claim is not in force, or `None` if it is.
    pub(crate) fn loss(&self, claim: &Claim) -> Option<LossReason> {
        if !(self.is_ours && self.grant == Some(claim.grant) && self.holder == claim.holder) {
            return Some(LossReason::taken_over(self.holder.clone(), self.token));
        }
        match self.ended {
            Some(Ended::Broken) => Some(LossReason::Broken),
            Some(Ended::Released) => Some(LossReason::Released),
            None if self.remaining.is_zero() => Some(LossReason::Expired),
            None => None,
        }
    }

    /// Returns the lease in force, or `None` if it has expired, or if other software wrote a name that this library does not
    /// allow.
    pub(crate) fn record(&self) -> Option<LeaseRecord> {
        if self.remaining.is_zero() {
            return None;
        }
        Some(
            LeaseRecord::new(
                LeaseName::new(&self.name).ok()?,
                self.holder.clone(),
                self.token,
                self.ttl,
                self.remaining,
            )
            .with_acquired_at(self.acquired_at)
            .with_metadata(self.metadata())
            .with_released(self.is_ours && self.ended == Some(Ended::Released)),
        )
    }

    fn held(&self) -> Acquired {
        Acquired::Held { by: self.record(), retry_after: Some(self.remaining) }
    }

    /// At most the ttl remains: a longer time comes from a clock that was set back (S1).
    fn grant_of(&self, request: &AcquireRequest) -> Grant {
        Grant::new(self.token, self.remaining.min(request.ttl)).with_handle(self.token.get())
    }

    fn is_grant_in_force(&self) -> bool {
        self.is_ours && self.ended.is_none() && !self.remaining.is_zero()
    }

    /// Returns the metadata of the holder. Empty for a grant of other software: the column has its own kind of metadata, or that
    /// of an earlier grant.
    fn metadata(&self) -> Metadata {
        let text = self.metadata.as_deref().filter(|_| self.is_ours);
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// Returns the token of a version.
pub(crate) fn token_from(version: i64) -> Result<FencingToken, sqlx::Error> {
    u64::try_from(version)
        .ok()
        .and_then(FencingToken::new)
        .ok_or_else(|| sqlx::Error::Decode("the version is below 1".into()))
}

/// Returns a duration of so many microseconds; zero if the count is negative.
pub(crate) fn microseconds(count: i64) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(0))
}

/// Returns a duration in microseconds: rounded up, as a ttl must be, and at most a hundred years, with which the server can
/// calculate.
pub(crate) fn in_microseconds(duration: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    i64::try_from(duration.min(CENTURY).as_nanos().div_ceil(1000)).unwrap_or(i64::MAX)
}

pub(crate) fn uuid(grant: GrantId) -> Uuid {
    Uuid::from_u128(grant.as_u128())
}

/// Returns the value of the column: null for empty metadata.
pub(crate) fn metadata_text(metadata: &Metadata) -> Option<String> {
    if metadata.is_empty() { None } else { serde_json::to_string(metadata).ok() }
}

/// Returns the index of the row's request among the requests of its statement.
pub(crate) fn position(row: &PgRow) -> Result<usize, Failure> {
    let position: i64 = row.try_get("position").map_err(Failure::unreadable)?;
    // The server counts from 1.
    usize::try_from(position - 1).map_err(|error| Failure::unreadable(sqlx::Error::Decode(error.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_rounded_up_to_a_microsecond() {
        assert_eq!(in_microseconds(Duration::from_nanos(1)), 1);
        assert_eq!(in_microseconds(Duration::from_nanos(1000)), 1);
        assert_eq!(in_microseconds(Duration::from_nanos(1001)), 2);
        assert_eq!(in_microseconds(Duration::MAX), 3_153_600_000_000_000);
        assert_eq!(microseconds(-5), Duration::ZERO);
    }
}
