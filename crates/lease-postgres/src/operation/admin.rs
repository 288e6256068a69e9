//! Inspects, lists and breaks leases.

use lease_core::{Break, FencingToken, LeaseName, LeaseRecord, Released, Result};

use crate::{
    failure::{Access, Failure},
    shared::Shared,
    sql::{FOLDS_NAMES, State, StatementTimeout, unfit},
};

impl Shared {
    pub(crate) async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        let state = self.read_state(name).await.map_err(|failure| self.error("inspect", failure))?;
        if state.as_ref().is_some_and(|state| !state.is_of(name)) {
            return Err(unfit("inspect", self.table(), FOLDS_NAMES));
        }
        Ok(state.and_then(|state| state.record()))
    }

    pub(crate) async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        // No name begins with any other character, some of which the server refuses.
        if limit == 0 || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Vec::new());
        }
        let values = [
            prefix.into(),
            end_of(prefix).into(),
            after.map(LeaseName::as_str).into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ];
        let rows =
            self.connections().run_for(StatementTimeout::Page, Access::Read, &self.statements().list, &values).await;
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
        // A token beyond the range of the column was never granted.
        let Ok(version) = i64::try_from(token.get()) else { return Ok(Released::NotHeld) };
        let values = [name.as_str().into(), version.into(), (how == Break::Now).into()];
        let statements = self.statements();
        for statement in [&statements.break_lease, &statements.break_foreign] {
            let rows = self.connections().run(Access::Write, statement, &values).await;
            if !rows.map_err(|failure| self.error("break", failure))?.is_empty() {
                self.notify([name]);
                return Ok(Released::Freed);
            }
        }
        Ok(Released::NotHeld)
    }
}

/// Returns the first text after all texts with this prefix. Names have no DEL, so the last byte can be incremented.
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
