//! The record of a name: one JSON document, which is never deleted except by a purge.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lease_core::{GrantId, HolderId, LeaseName, Metadata, ReleaseRequest};
use serde::{Deserialize, Serialize};

/// The last grant of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The name, because keys may be hashes of names (S21).
    pub(crate) name: String,
    #[serde(with = "holder")]
    pub(crate) holder: HolderId,
    /// The nonce.
    grant: String,
    /// Absent in a grant whose token is the number of its version, until the next write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<u64>,
    /// No token of this grant is smaller (S9).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_floor: Option<u64>,
    acquired_us: u64,
    ttl_us: u64,
    /// For how long the name is taken from this write on (S2).
    lasts_us: u64,
    /// Until when it is taken by the store's clock; absent where it has none, or none that is believed (S3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_us: Option<u64>,
    pub(crate) phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "holder_option")]
    pub(crate) reserved_for: Option<HolderId>,
    /// Subscribers get a hint of this grant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) announce: bool,
    #[serde(default)]
    pub(crate) metadata_revision: u64,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// Random: no two writes are alike, because a version may be a hash of the content.
    #[serde(default)]
    pub(crate) write: String,
}

/// The phase of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// The holder may renew and release it.
    Held,
    /// An administrator has ended it (S22).
    Broken,
    /// The holder has ended it. The name may stay blocked for all but a successor.
    Released,
}

/// The parts of a new grant.
#[derive(Debug)]
pub(crate) struct NewGrant<'a> {
    pub(crate) name: &'a LeaseName,
    pub(crate) holder: &'a HolderId,
    pub(crate) grant: GrantId,
    pub(crate) token: Option<u64>,
    pub(crate) token_floor: Option<u64>,
    pub(crate) acquired_at: Duration,
    pub(crate) ttl: Duration,
    pub(crate) metadata: &'a Metadata,
    pub(crate) announce: bool,
}

impl Record {
    /// Creates the record of a new grant.
    pub(crate) fn grant(new: NewGrant<'_>) -> Self {
        Self {
            name: new.name.as_str().to_owned(),
            holder: new.holder.clone(),
            grant: new.grant.to_string(),
            token: new.token,
            token_floor: new.token_floor,
            acquired_us: micros(new.acquired_at),
            ttl_us: micros_up(new.ttl),
            lasts_us: micros_up(new.ttl),
            until_us: None,
            phase: Phase::Held,
            reserved_for: None,
            announce: new.announce,
            metadata_revision: 0,
            metadata: new.metadata.clone().into(),
            write: String::new(),
        }
    }

    /// Creates the record that stands for none: nobody was granted this name yet.
    pub(crate) fn none(name: &LeaseName) -> Self {
        Self {
            name: name.as_str().to_owned(),
            holder: HolderId::from_store(""),
            grant: String::new(),
            token: Some(0),
            token_floor: None,
            acquired_us: 0,
            ttl_us: 0,
            lasts_us: 0,
            until_us: None,
            phase: Phase::Released,
            reserved_for: None,
            announce: false,
            metadata_revision: 0,
            metadata: BTreeMap::new(),
            write: String::new(),
        }
    }

    /// Returns this record for the next write of the same grant, with its token written out.
    pub(crate) fn next(&self, token: u64) -> Self {
        Self { token: Some(token), announce: false, ..self.clone() }
    }

    /// Ends the grant for its owner (S11).
    pub(crate) fn release(&mut self, request: &ReleaseRequest) {
        self.phase = Phase::Released;
        self.reserved_for.clone_from(&request.reserved_for);
    }

    /// Removes all that neither the token nor the nonce needs. Returns whether there was anything to remove.
    pub(crate) fn reduce(&mut self) -> bool {
        let is_reduced = self.phase != Phase::Held && self.metadata.is_empty() && self.reserved_for.is_none();
        if self.phase == Phase::Held {
            self.phase = Phase::Released;
        }
        self.metadata.clear();
        self.reserved_for = None;
        self.announce = false;
        self.set_lasts(Duration::ZERO);
        !is_reduced
    }

    pub(crate) fn belongs_to(&self, holder: &HolderId, grant: GrantId) -> bool {
        self.holder == *holder && self.grant == grant.to_string()
    }

    /// Returns the token of the grant, if this version was its first: never below its floor, though the numbers of versions may have
    /// begun anew (S9). Without a number, the token is at least what is returned.
    pub(crate) fn token_in(&self, number: Option<u64>) -> u64 {
        self.token.unwrap_or_else(|| self.token_floor.max(number).unwrap_or(1))
    }

    /// Returns whether waiters and watches want to know of this write. A renewal is no news for them, whoever renews, and neither is
    /// a grant that was not to be announced.
    pub(crate) fn is_news(&self) -> bool {
        self.phase != Phase::Held || self.announce
    }

    pub(crate) fn is_same_grant(&self, other: &Self) -> bool {
        self.holder == other.holder && self.grant == other.grant
    }

    pub(crate) fn set_metadata(&mut self, revision: u64, metadata: &Metadata) {
        self.metadata_revision = revision;
        self.metadata = metadata.clone().into();
    }

    /// Returns the metadata; those that another program wrote beyond the limits are left out.
    pub(crate) fn metadata(&self) -> Metadata {
        Metadata::try_from(self.metadata.clone()).unwrap_or_default()
    }

    pub(crate) fn acquired_at(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_micros(self.acquired_us)).unwrap_or(UNIX_EPOCH)
    }

    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_micros(self.ttl_us)
    }

    pub(crate) fn lasts(&self) -> Duration {
        Duration::from_micros(self.lasts_us)
    }

    pub(crate) fn set_lasts(&mut self, lasts: Duration) {
        self.lasts_us = micros_up(lasts);
    }

    pub(crate) fn until(&self) -> Option<Duration> {
        self.until_us.map(Duration::from_micros)
    }

    pub(crate) fn set_until(&mut self, until: Option<Duration>) {
        self.until_us = until.map(micros_up);
    }

    /// Returns the bytes of the next write, which differ from those of all others.
    pub(crate) fn next_bytes(&mut self) -> serde_json::Result<Vec<u8>> {
        self.write = GrantId::random().to_string();
        serde_json::to_vec(self)
    }

    pub(crate) fn parse(value: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(value)
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Rounded up: a lease never ends earlier than its holder was told.
fn micros_up(duration: Duration) -> u64 {
    micros(duration.saturating_add(Duration::from_nanos(999)))
}

/// A holder as it was written: what another program wrote need not pass the checks of this version.
mod holder {
    use lease_core::HolderId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(holder: &HolderId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(holder.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HolderId, D::Error> {
        String::deserialize(deserializer).map(|holder| HolderId::from_store(&holder))
    }
}

mod holder_option {
    use lease_core::HolderId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(holder: &Option<HolderId>, serializer: S) -> Result<S::Ok, S::Error> {
        match holder {
            Some(holder) => serializer.serialize_some(holder.as_str()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HolderId>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(|holder| HolderId::from_store(&holder)))
    }
}
