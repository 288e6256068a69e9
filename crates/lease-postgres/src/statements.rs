//! The statements, built once per store: the texts of `sql/` with the table's name in them.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::schema::Table;

/// How long a statement waits for a row that somebody else has locked. It then fails as a whole, with nothing done.
const LOCK_TIMEOUT: &str = "50ms";

/// One text an operation.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) acquire_one: SqlStr,
    pub(crate) acquire_one_look_first: SqlStr,
    pub(crate) acquire_many: SqlStr,
    pub(crate) raise: SqlStr,
    pub(crate) look: SqlStr,
    pub(crate) list: SqlStr,
    pub(crate) renew_one: SqlStr,
    pub(crate) renew_many: SqlStr,
    pub(crate) release_one: SqlStr,
    pub(crate) release_many: SqlStr,
    pub(crate) break_lease: SqlStr,
    pub(crate) locked: SqlStr,
    pub(crate) fence: SqlStr,
    pub(crate) purge: SqlStr,
    pub(crate) columns: SqlStr,
}

impl Statements {
    pub(crate) fn new(table: &Table, notifications: bool) -> Self {
        let notify = if notifications { "pg_notify('{channel}', l.lease_name)::text" } else { "null::text" };
        let build = |source: &str| -> SqlStr {
            // Nothing in it comes from outside but the table, and that is quoted. Shared, so that a clone is cheap.
            AssertSqlSafe(std::sync::Arc::<str>::from(text(source, table, notify))).into_sql_str()
        };
        Self {
            acquire_one: build(include_str!("../sql/acquire_one.sql")),
            acquire_one_look_first: build(include_str!("../sql/acquire_one_look_first.sql")),
            acquire_many: build(include_str!("../sql/acquire_many.sql")),
            raise: build(include_str!("../sql/raise.sql")),
            look: build(include_str!("../sql/look.sql")),
            list: build(include_str!("../sql/list.sql")),
            renew_one: build(include_str!("../sql/renew_one.sql")),
            renew_many: build(include_str!("../sql/renew_many.sql")),
            release_one: build(include_str!("../sql/release_one.sql")),
            release_many: build(include_str!("../sql/release_many.sql")),
            break_lease: build(include_str!("../sql/break.sql")),
            locked: build(include_str!("../sql/locked.sql")),
            fence: build(include_str!("../sql/fence.sql")),
            purge: build(include_str!("../sql/purge.sql")),
            columns: build(include_str!("../sql/columns.sql")),
        }
    }
}

/// A text of `sql/`, with its placeholders filled in. The table comes last, so that nothing in its name is taken for a
/// placeholder, and after the comments are gone, so that a line break in its name cannot end one.
pub(crate) fn text(source: &str, table: &Table, notify: &str) -> String {
    without_comments(source)
        .replace("{state}", without_comments(include_str!("../sql/state.sql")).trim_end())
        .replace("{take_over}", without_comments(include_str!("../sql/take_over.sql")).trim_end())
        .replace("{notify}", notify)
        .replace("{lock_timeout}", LOCK_TIMEOUT)
        .replace("{channel}", &table.channel())
        .replace("{table}", table.quoted())
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
        for notifications in [true, false] {
            let all = format!("{:?}", Statements::new(&table, notifications));
            for placeholder in ["{table}", "{state}", "{take_over}", "{notify}", "{channel}", "{lock_timeout}", "--"] {
                assert!(!all.contains(placeholder), "{placeholder} in {all}");
            }
        }
    }

    #[test]
    fn the_name_of_the_table_is_never_read_as_text_of_ours() {
        let table = Table::new("{notify}", "x\n; drop table y; -- {channel}").unwrap();
        let look = text("-- about it\nselect from {table}\n", &table, "boom");
        assert_eq!(look, "select from \"{notify}\".\"x\n; drop table y; -- {channel}\"\n");
    }
}
