//! Looking at leases, and ending those of others.

use std::time::Duration;

use lease_core::{Break, FencingToken, LeaseName, LeaseRecord, Released, Result};
use sqlx::Row;

use crate::{
    PostgresStore,
    batch::place,
    connections::{Access, Failure},
    row::{State, in_microseconds},
    store::Inner,
};

/// How many names one statement of a purge goes through.
const PURGE_STRETCH: i64 = 1000;

impl PostgresStore {
    /// Removes the rows of leases that expired or were released at least `older_than` ago, in small batches, and says how many.
    /// Not needed for correctness: a row is small, and one per name.
    ///
    /// Tokens keep rising, because they follow the server's clock (S10); a row whose token is ahead of that clock stays. Forgotten
    /// with the row is the last grant's nonce: keep `older_than` well above the time for which a request can be delayed (S13).
    ///
    /// # Errors
    ///
    /// As every operation; what has been removed stays removed.
    ///
    /// # Cancel safety
    ///
    /// What has been removed stays removed.
    pub async fn purge(&self, older_than: Duration) -> Result<u64> {
        const OPERATION: &str = "purge";
        let inner = &self.0;
        let (mut after, mut removed) = (None::<String>, 0);
        loop {
            let query = sqlx::query(inner.statements().purge.clone())
                .bind(after.as_deref())
                .bind(in_microseconds(older_than))
                .bind(PURGE_STRETCH);
            let rows = inner.connections().run(Access::Write, query).await;
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
        let query = sqlx::query(self.statements().list.clone())
            .bind(prefix)
            .bind(end_of(prefix))
            .bind(after.map(LeaseName::as_str))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.connections().run(Access::Read, query).await;
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
        let query = sqlx::query(self.statements().break_lease.clone())
            .bind(name.as_str())
            .bind(version)
            .bind(how == Break::Now);
        let rows = self.connections().run(Access::Write, query).await;
        let rows = rows.map_err(|failure| self.error("break", failure))?;
        Ok(if rows.is_empty() { Released::NotHeld } else { Released::Freed })
    }

    /// The newest state of a name.
    pub(crate) async fn look(&self, name: &LeaseName) -> Result<Option<State>, Failure> {
        let query = sqlx::query(self.statements().look.clone()).bind(name.as_str());
        let rows = self.connections().run(Access::Read, query).await?;
        match rows.first() {
            Some(row) => State::read(row).map_err(Failure::unreadable),
            None => Ok(None),
        }
    }

    /// The places of those names that somebody else has locked.
    pub(crate) async fn locked(&self, names: &[&str]) -> Result<Vec<usize>, Failure> {
        let query = sqlx::query(self.statements().locked.clone()).bind(names.to_vec());
        let rows = self.connections().run(Access::Read, query).await?;
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
