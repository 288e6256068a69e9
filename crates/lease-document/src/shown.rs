//! What a record shows to people and to other programs.

use std::time::{Duration, SystemTime};

use lease_core::HolderId;

use crate::record::{Phase, Record};

/// What a record shows to people and to other programs: for a backend that writes it beside the record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shown {
    /// The holder of the last grant.
    pub holder: HolderId,
    /// When it was granted.
    pub acquired_at: SystemTime,
    /// For how long the name is taken from this write on, by the holder or, if the grant has ended, by nobody. Zero if it is free.
    pub lasts: Duration,
    /// Whether the grant has ended: it was released or broken.
    pub has_ended: bool,
    /// The holder for whom the name is reserved for as long as it lasts, once the grant has ended.
    pub reserved_for: Option<HolderId>,
    /// The token, unless it is the number of the version that this write makes, which is the first one of the grant.
    pub token: Option<u64>,
}

impl Shown {
    /// Reads what [`put_if`](crate::Documents::put_if) is to write. Returns `None` if this library did not make it.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let record = Record::parse(value).ok()?;
        Some(Self {
            acquired_at: record.acquired_at(),
            lasts: record.lasts(),
            has_ended: record.phase != Phase::Held,
            token: record.token,
            holder: record.holder,
            reserved_for: record.reserved_for,
        })
    }
}
