//! The statements, built once per store: the texts of `sql/` with the table's name in them.

use crate::{schema::Table, statement::Statement};

/// How long a statement waits for a row that somebody else has locked. It then fails as a whole, with nothing done.
pub(crate) const LOCK_TIMEOUT: &str = "50ms";

/// The same for a statement that goes alone: it holds up no neighbour.
pub(crate) const LOCK_TIMEOUT_ALONE: &str = "1s";

/// One text an operation.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) acquire_one: Statement,
    pub(crate) acquire_many: Statement,
    pub(crate) raise: Statement,
    pub(crate) look: Statement,
    pub(crate) list: Statement,
    pub(crate) renew_one: Statement,
    pub(crate) renew_many: Statement,
    pub(crate) release_one: Statement,
    pub(crate) release_many: Statement,
    pub(crate) break_lease: Statement,
    pub(crate) break_foreign: Statement,
    pub(crate) locked: Statement,
    pub(crate) fence: Statement,
    pub(crate) purge: Statement,
    pub(crate) notify: Statement,
}

impl Statements {
    pub(crate) fn new(table: &Table) -> Self {
        let usual = format!("'{LOCK_TIMEOUT}'");
        let build = |source: &str| Statement::new(&expand(source, &usual), |text| complete(text, table));
        let renew_one = expand(include_str!("../sql/renew_one.sql"), "$7::text");
        Self {
            acquire_one: build(include_str!("../sql/acquire_one.sql")),
            acquire_many: build(include_str!("../sql/acquire_many.sql")),
            raise: build(include_str!("../sql/raise.sql")),
            look: build(include_str!("../sql/look.sql")),
            list: build(include_str!("../sql/list.sql")),
            renew_one: Statement::new(&renew_one, |text| complete(text, table)),
            renew_many: build(include_str!("../sql/renew_many.sql")),
            release_one: build(include_str!("../sql/release_one.sql")),
            release_many: build(include_str!("../sql/release_many.sql")),
            break_lease: build(include_str!("../sql/break.sql")),
            break_foreign: build(include_str!("../sql/break_foreign.sql")),
            locked: build(include_str!("../sql/locked.sql")),
            fence: build(include_str!("../sql/fence.sql")),
            purge: build(include_str!("../sql/purge.sql")),
            notify: build(include_str!("../sql/notify.sql")),
        }
    }
}

/// A text of `sql/` without parameters.
pub(crate) fn text(source: &str, table: &Table) -> String {
    complete(&expand(source, ""), table)
}

/// Fills in what is the same for all tables.
fn expand(source: &str, lock_timeout: &str) -> String {
    let text = without_comments(source)
        .replace("{settings}", part(include_str!("../sql/settings.sql")).as_str())
        .replace("{state}", part(include_str!("../sql/state.sql")).as_str())
        .replace("{take_over}", part(include_str!("../sql/take_over.sql")).as_str())
        .replace("{extend}", part(include_str!("../sql/extend.sql")).as_str())
        .replace("{extended}", part(include_str!("../sql/extended.sql")).as_str())
        .replace("{lock_timeout}", lock_timeout);
    in_microseconds(&text)
}

/// `{us of x}`: a moment since 1970, or an interval, in microseconds. The types are exact: where they are not, the server looks through
/// the whole search path for an operator that fits better, and anybody may have put one there.
fn in_microseconds(text: &str) -> String {
    const BEGIN: &str = "{us of ";
    let mut parts = text.split(BEGIN);
    let mut complete = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once('}').unwrap_or((part, ""));
        complete.push_str(&format!("(pg_catalog.date_part('epoch', {expression}) * 1000000::float8)::bigint{rest}"));
    }
    complete
}

/// The table comes last, so that nothing in its name is taken for a placeholder, and after the comments are gone, so that a line
/// break in its name cannot end one.
fn complete(text: &str, table: &Table) -> String {
    text.replace("{channel}", &table.channel()).replace("{table}", table.quoted())
}

fn part(source: &str) -> String {
    without_comments(source).trim_end().to_owned()
}

fn without_comments(source: &str) -> String {
    source.lines().filter(|line| !line.trim_start().starts_with("--")).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_placeholder_and_no_comment_is_left() {
        let table = Table::new("public", "app_runtime_leases").unwrap();
        let all = format!("{:?} {}", Statements::new(&table), table.ddl());
        for placeholder in [
            "{table}",
            "{state}",
            "{take_over}",
            "{settings}",
            "{extend",
            "{us of",
            "{channel}",
            "{lock_timeout}",
            "--",
        ] {
            assert!(!all.contains(placeholder), "{placeholder} in {all}");
        }
    }

    #[test]
    fn the_name_of_the_table_is_never_read_as_text_of_ours() {
        let table = Table::new("{state}", "x\n; drop table y; -- {channel} $1").unwrap();
        let look = text("-- about it\nselect from {table}\n", &table);
        assert_eq!(look, "select from \"{state}\".\"x\n; drop table y; -- {channel} $1\"\n");
    }
}
