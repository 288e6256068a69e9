//! Looking at leases, and ending those of others.

use std::time::Duration;

use lease_core::{Break, ErrorKind, FencingToken, LeaseName, LeaseRecord, Released, Result};
use sqlx::Row;

use crate::{
    PostgresStore,
    batch::place,
    connections::{Access, Failure, another_calls},
    error::here,
    row::{State, in_microseconds},
    statement::Bound,
    store::Inner,
};

/// How many names one statement of a purge goes through.
const PURGE_STRETCH: i64 = 1000;

/// The least age of what is purged. No request is delayed for that long, by a network or by a process that stands still, and still
/// believed by its sender.
const MIN_PURGE_AGE: Duration = Duration::from_secs(3600);

impl PostgresStore {
    /// Removes the rows of leases that expired or were released at least `older_than` ago, in small batches, and says how many.
    /// Not needed for correctness: a row is small, and one per name. It goes through all rows of the table, also those that stay.
    ///
    /// Tokens keep rising, because they follow the server's clock (S10); a row whose token is ahead of that clock stays. Forgotten
    /// with the row is the last grant's nonce, so `older_than` is at least an hour: well above the time for which a request can be
    /// delayed (S13).
    ///
    /// # Errors
    ///
    /// `Invalid`: `older_than` is less than an hour. Otherwise as every operation; what has been removed stays removed.
    ///
    /// # Cancel safety
    ///
    /// What has been removed stays removed.
    pub async fn purge(&self, older_than: Duration) -> Result<u64> {
        const OPERATION: &str = "purge";
        if older_than < MIN_PURGE_AGE {
            let message = format!(
                "a row is kept for at least {MIN_PURGE_AGE:?} after its end, so that no delayed request is granted a second time: \
                 {older_than:?} is too short"
            );
            return Err(here(ErrorKind::Invalid, OPERATION, message));
        }
        let inner = &self.0;
        let (mut after, mut removed) = (None::<String>, 0);
        loop {
            let values = [after.as_deref().into(), in_microseconds(older_than).into(), PURGE_STRETCH.into()];
            let rows =
                inner.connections().run_for(Bound::Stretch, Access::Write, &inner.statements().purge, &values).await;
            let stretch = rows.and_then(|rows| {
                let row = rows.first().ok_or_else(|| Failure::unreadable(sqlx::Error::RowNotFound))?;
                let last: Option<String> = row.try_get("last_name").map_err(Failure::unreadable)?;
                Ok((last, row.try_get::<i64, _>("removed").map_err(Failure::unreadable)?))
            });
            let (last, count) = stretch.map_err(|failure| inner.error(OPERATION, failure))?;
            removed += u64::try_from(count).unwrap_or(0);
            if last.is_none() {
                return Ok(removed);
            }
            after = last;
        }
    }
}

impl Inner {
    pub(crate) async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        let state = self.look(name).await.map_err(|failure| self.error("inspect", failure))?;
        Ok(state.and_then(|state| state.record()))
    }

    pub(crate) async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        // No name begins with anything else, and the server refuses some of it.
        if limit == 0 || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Vec::new());
        }
        let values = [
            prefix.into(),
            end_of(prefix).into(),
            after.map(LeaseName::as_str).into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ];
        let rows = self.connections().run_for(Bound::Page, Access::Read, &self.statements().list, &values).await;
        let states = rows.and_then(|rows| {
            rows.iter()
                .filter_map(|row| State::read(row).transpose())
                .collect::<Result<Vec<_>, _>>()
                .map_err(Failure::unreadable)
        });
        let states = states.map_err(|failure| self.error("list", failure))?;
        Ok(states.iter().filter_map(State::record).collect())
    }

    pub(crate) async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        // A token beyond the column's range was never granted.
        let Ok(version) = i64::try_from(token.get()) else { return Ok(Released::NotHeld) };
        let values = [name.as_str().into(), version.into(), (how == Break::Now).into()];
        let statements = self.statements();
        for statement in [&statements.break_lease, &statements.break_foreign] {
            let rows = self.connections().run(Access::Write, statement, &values).await;
            if !rows.map_err(|failure| self.error("break", failure))?.is_empty() {
                self.announce([name]);
                return Ok(Released::Freed);
            }
        }
        Ok(Released::NotHeld)
    }

    /// The newest state of a name.
    pub(crate) async fn look(&self, name: &LeaseName) -> Result<Option<State>, Failure> {
        let rows = self.connections().run(Access::Read, &self.statements().look, &[name.as_str().into()]).await?;
        // There is one row in any case: without it, the answer proves nothing (S19, S25).
        let row = rows.first().ok_or_else(|| Failure::unreadable(another_calls()))?;
        State::read(row).map_err(Failure::unreadable)
    }

    /// The places of those names that somebody else has locked.
    pub(crate) async fn locked(&self, names: &[&str]) -> Result<Vec<usize>, Failure> {
        let values = [names.iter().copied().collect()];
        // It locks, for which a transaction must be one that may write, but changes nothing.
        let rows = self.connections().run(Access::Write, &self.statements().locked, &values).await;
        let rows = rows.map_err(|failure| Failure { access: Access::Read, ..failure })?;
        rows.iter().map(place).collect()
    }
}

/// The first text after all that begin with this one. Names end before DEL, so the last byte can be counted up.
fn end_of(prefix: &str) -> Option<String> {
    let (last, rest) = prefix.as_bytes().split_last()?;
    Some(rest.iter().copied().chain([last + 1]).map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_prefix_ends_right_after_it() {
        assert_eq!(end_of(""), None);
        assert_eq!(end_of("job").as_deref(), Some("joc"));
        assert_eq!(end_of("a~").as_deref(), Some("a\x7f"));
    }
}
