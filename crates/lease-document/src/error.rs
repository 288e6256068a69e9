//! The errors of this crate. Those of a backend pass through.

use lease_core::{Error, ErrorKind, LeaseName};

/// What every error names: the store, the operation and the lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) store: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) name: &'a LeaseName,
}

impl Context<'_> {
    /// A write of this operation may have been done, or may still be.
    pub(crate) fn indeterminate(&self, cause: &Error) -> Error {
        let name = self.name;
        self.error(
            ErrorKind::Indeterminate,
            format!("a write of lease {name} had no answer, and nothing shows what became of it: repeat the attempt; {cause}"),
        )
        .with_source(cause.clone())
    }

    /// Nothing was written, because others always wrote first, or reads were too old to decide by.
    pub(crate) fn crowded(&self, rounds: usize) -> Error {
        let name = self.name;
        let message = format!(
            "in {rounds} rounds, others changed the document of lease {name}, or it was read as it was before: try again later"
        );
        self.error(ErrorKind::Unavailable, message)
    }

    /// The document was not written by this library.
    pub(crate) fn not_a_record(&self, cause: serde_json::Error) -> Error {
        let name = self.name;
        let message = format!(
            "the document of lease {name} is no lease record ({cause}): another program wrote it; give the leases a prefix, container \
             or directory of their own, or delete the document"
        );
        self.error(ErrorKind::Invalid, message).with_source(cause)
    }

    /// The document belongs to another name.
    pub(crate) fn foreign_name(&self, found: &str) -> Error {
        let name = self.name;
        let message = format!(
            "the document of lease {name} is that of lease {found:?}: the backend gives both names the same key; correct its \
             keys, or delete the document"
        );
        self.error(ErrorKind::Invalid, message)
    }

    /// The lease is that of another program.
    pub(crate) fn foreign_holder(&self) -> Error {
        let name = self.name;
        let message = format!(
            "lease {name} is held by another program, which would not notice that it was broken: end it by the means of that program"
        );
        self.error(ErrorKind::Unsupported, message)
    }

    pub(crate) fn not_serialized(&self, cause: serde_json::Error) -> Error {
        let name = self.name;
        self.error(ErrorKind::Invalid, format!("the record of lease {name} cannot be written as JSON: {cause}"))
            .with_source(cause)
    }

    pub(crate) fn no_greater_token(&self) -> Error {
        let name = self.name;
        let message = format!(
            "the greatest possible token of lease {name} was granted: there is no greater one; lease another name"
        );
        self.error(ErrorKind::Invalid, message)
    }

    pub(crate) fn error(&self, kind: ErrorKind, message: String) -> Error {
        Error::new(kind, self.operation, message).in_store(self.store)
    }
}
