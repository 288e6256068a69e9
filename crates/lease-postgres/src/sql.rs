//! The table and the SQL of this crate: its texts are in `sql/` beside `src/`, one file a statement.

mod ddl;
mod fitness;
mod row;
mod session;
mod statement;
mod statements;
mod table;
mod template;

pub(crate) use self::{
    ddl::{ddl, index_ddl},
    fitness::{FOLDS_NAMES, Fitness, unfit},
    row::{State, in_microseconds, metadata_text, microseconds, position, token_from, uuid},
    session::{SETTINGS, are_settings_applied, is_refused_setting},
    statement::{Statement, StatementTimeout, Value},
    statements::{Statements, lock_timeout},
    table::Table,
};
