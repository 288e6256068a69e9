//! A versioned document, and the answers of a backend.

use lease_core::LeaseName;

use crate::{Foreign, Sample};

/// What a conditional write compares.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// The tag, different for every write of a document: an `ETag`, a generation, a revision. May be a hash of the content: no
    /// two writes of this library have the same bytes.
    pub tag: String,
    /// The number of the write, where the store counts: greater than those of all earlier writes of the document, and of those
    /// before a deletion. Needed where a read may be older than one before, and for
    /// [`tokens_from_versions`](crate::About::tokens_from_versions).
    pub number: Option<u64>,
}

impl Version {
    /// Creates a version without a number.
    #[must_use]
    pub fn new(tag: impl Into<String>) -> Self {
        Self { tag: tag.into(), number: None }
    }

    /// Sets the number.
    #[must_use]
    pub fn with_number(self, number: u64) -> Self {
        Self { number: Some(number), ..self }
    }
}

/// A document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Document {
    /// The record that was written last. Empty if there was none, and the document is [foreign](Self::foreign).
    pub value: Vec<u8>,
    /// The version of this content.
    pub version: Version,
    /// Whether the process that wrote it is dead for certain, so that the grant is over before its end.
    pub has_dead_holder: bool,
    /// Set if another program has written the document since: the lease is that program's, and of the record only the token
    /// still counts (S9).
    pub foreign: Option<Foreign>,
}

impl Document {
    /// Creates a document.
    #[must_use]
    pub fn new(value: Vec<u8>, version: Version) -> Self {
        Self { value, version, has_dead_holder: false, foreign: None }
    }

    /// Sets whether the process that wrote it is dead for certain.
    #[must_use]
    pub fn with_dead_holder(self, has_dead_holder: bool) -> Self {
        Self { has_dead_holder, ..self }
    }

    /// Sets whose lease it is, because another program has written the document since the record.
    #[must_use]
    pub fn with_foreign(self, foreign: impl Into<Option<Foreign>>) -> Self {
        Self { foreign: foreign.into(), ..self }
    }
}

/// The answer to [`Documents::get`](crate::Documents::get).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Looked {
    /// The document, if there is one.
    pub document: Option<Document>,
    /// What the answer says of the store's clock.
    pub clock: Option<Sample>,
}

impl Looked {
    /// Creates an answer without a clock.
    #[must_use]
    pub fn new(document: Option<Document>) -> Self {
        Self { document, clock: None }
    }

    /// Sets what the answer says of the store's clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Into<Option<Sample>>) -> Self {
        Self { clock: clock.into(), ..self }
    }
}

/// The answer to [`Documents::put_if`](crate::Documents::put_if).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Put {
    /// The version that was written; `None` if the document did not have the expected one.
    pub version: Option<Version>,
    /// What the answer says of the store's clock.
    pub clock: Option<Sample>,
}

impl Put {
    /// The answer to a write that was done.
    #[must_use]
    pub fn written(version: Version) -> Self {
        Self { version: Some(version), clock: None }
    }

    /// The answer to a write that was refused, because the document has another version.
    #[must_use]
    pub fn conflict() -> Self {
        Self { version: None, clock: None }
    }

    /// Sets what the answer says of the store's clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Into<Option<Sample>>) -> Self {
        Self { clock: clock.into(), ..self }
    }
}

/// The answer to [`Documents::list`](crate::Documents::list).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// The documents, in the byte order of their names.
    pub documents: Vec<(LeaseName, Document)>,
    /// Whether there may be documents after these.
    pub has_more: bool,
    /// What the answer says of the store's clock.
    pub clock: Option<Sample>,
}

impl Page {
    /// Creates a page, the last one if it is empty.
    #[must_use]
    pub fn new(documents: Vec<(LeaseName, Document)>) -> Self {
        Self { has_more: !documents.is_empty(), documents, clock: None }
    }

    /// Sets whether there may be more. An empty page is the last one all the same: there is no name to go on from.
    #[must_use]
    pub fn with_more(self, has_more: bool) -> Self {
        Self { has_more: has_more && !self.documents.is_empty(), ..self }
    }

    /// Sets what the answer says of the store's clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Into<Option<Sample>>) -> Self {
        Self { clock: clock.into(), ..self }
    }
}
