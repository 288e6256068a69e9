//! The text that creates or upgrades the table.

use super::{table::Table, template};

/// Returns the text that creates the table, or upgrades one that has only the columns of the contract. It can be run again.
pub(crate) fn ddl(table: &Table) -> String {
    let mut ddl = template::fill(include_str!("../../sql/ddl.sql"), table);
    if table.has_fences() {
        ddl.push('\n');
        ddl.push_str(&index_ddl(table));
    }
    ddl
}

/// Returns the text that creates the index on which fences rely.
pub(crate) fn index_ddl(table: &Table) -> String {
    template::fill(include_str!("../../sql/index.sql"), table)
}
