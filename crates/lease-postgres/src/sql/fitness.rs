//! Whether a table can keep the rules at all, whatever its columns are.

use lease_core::{Error, ErrorKind, Result};
use sqlx::{Row as _, postgres::PgRow};

use super::table::Table;
use crate::error::store_error;

pub(crate) const FOLDS_NAMES: &str = "the collation of lease_name takes names that differ for equal: use collate \"C\"";

/// The properties of a table that `sql/fitness.sql` reads.
#[derive(Debug, Clone)]
pub(crate) struct Fitness {
    kind: String,
    is_permanent: bool,
    /// Columns of the contract that are nullable.
    nullable: Option<String>,
    /// Whether the collation takes names that differ for equal.
    folds_names: bool,
}

impl Fitness {
    pub(crate) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            kind: row.try_get("kind")?,
            is_permanent: row.try_get("is_permanent")?,
            nullable: row.try_get("nullable")?,
            folds_names: row.try_get("folds_names")?,
        })
    }

    /// Returns an error if the table cannot keep the rules.
    pub(crate) fn check(&self, operation: &'static str, table: &Table) -> Result<()> {
        self.defect().map_or(Ok(()), |defect| Err(unfit(operation, table, &defect)))
    }

    fn defect(&self) -> Option<String> {
        let kind = match self.kind.as_str() {
            "r" => None,
            "v" | "m" => Some("a view"),
            "p" => Some("a partitioned table, whose parts have keys of their own"),
            "f" => Some("a foreign table"),
            _ => Some("not a table"),
        };
        if let Some(kind) = kind {
            return Some(format!("it is {kind}"));
        }
        if !self.is_permanent {
            let defect = "it is unlogged or temporary, and would be empty after a crash: alter table … set logged";
            return Some(defect.to_owned());
        }
        if let Some(columns) = &self.nullable {
            return Some(format!("{columns} may be null: alter table … alter column … set not null"));
        }
        self.folds_names.then(|| FOLDS_NAMES.to_owned())
    }
}

/// Creates the error for a table that cannot be used, because of `defect`.
pub(crate) fn unfit(operation: &'static str, table: &Table, defect: &str) -> Error {
    let message =
        format!("the table {} cannot be used for leases: {defect}. Correct it, or use another table", table.quoted());
    store_error(ErrorKind::Invalid, operation, message)
}
