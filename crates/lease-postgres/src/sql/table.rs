//! The name of the table, and what is derived from it.

use lease_core::{ErrorKind, Result};

use crate::error::store_error;

/// PostgreSQL silently truncates longer names.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// The table in which leases are kept.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    schema: String,
    name: String,
    quoted: String,
    has_fences: bool,
}

impl Table {
    /// Checks and quotes the names.
    pub(crate) fn new(schema: &str, name: &str) -> Result<Self> {
        let quoted = format!("{}.{}", quote("schema", schema)?, quote("table", name)?);
        Ok(Self { schema: schema.to_owned(), name: name.to_owned(), quoted, has_fences: false })
    }

    /// Sets whether the table needs the index on which fences rely.
    pub(crate) fn with_fences(self, has_fences: bool) -> Self {
        Self { has_fences, ..self }
    }

    pub(crate) fn has_fences(&self) -> bool {
        self.has_fences
    }

    /// Returns the name as it is written in a statement, with both parts quoted.
    pub(crate) fn quoted(&self) -> &str {
        &self.quoted
    }

    /// Returns the schema and the table, unquoted, as the catalogue has them.
    pub(crate) fn schema_and_name(&self) -> [&str; 2] {
        [&self.schema, &self.name]
    }

    /// Returns the channel of this table's notifications. It is the same for every version of this library, and within the 63
    /// bytes to which `LISTEN` would truncate it. Tables that share a channel by accident send hints to each other's waiters,
    /// which is harmless (S20).
    pub(crate) fn channel(&self) -> String {
        format!("lease_postgres_{:016x}", self.hash())
    }

    /// Returns the key of the advisory lock that every listener of the channel holds in share mode.
    pub(crate) fn listener_lock(&self) -> i64 {
        // The same bits, as a signed number.
        self.hash().cast_signed()
    }

    fn hash(&self) -> u64 {
        // FNV-1a
        let bytes = self.quoted.bytes();
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

fn quote(what: &str, name: &str) -> Result<String> {
    if name.is_empty() || name.len() > MAX_IDENTIFIER_BYTES || name.contains('\0') {
        let message = format!(
            "the name of the {what} must have 1 to {MAX_IDENTIFIER_BYTES} bytes and no NUL; this one has {} bytes",
            name.len()
        );
        return Err(store_error(ErrorKind::Invalid, "configure", message));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_names_and_refuses_those_that_the_server_would_truncate() {
        let table = Table::new("\"; drop table x; --", "a b").unwrap();
        assert_eq!(table.quoted(), r#""""; drop table x; --"."a b""#);
        for name in [String::new(), "x".repeat(64), "a\0b".to_owned()] {
            assert_eq!(Table::new("public", &name).unwrap_err().kind(), ErrorKind::Invalid);
            assert_eq!(Table::new(&name, "leases").unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn channels_are_short_stable_and_one_a_table() {
        let table = Table::new(&"s".repeat(63), &"t".repeat(63)).unwrap();
        assert!(table.channel().len() <= MAX_IDENTIFIER_BYTES);
        assert_ne!(table.channel(), Table::new("public", "t").unwrap().channel());
        let usual = Table::new("public", "app_runtime_leases").unwrap();
        assert_eq!(usual.channel(), "lease_postgres_25e5da7675d1c712");
    }
}
