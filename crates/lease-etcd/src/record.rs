//! The values of keys: JSON that people can read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use etcd_client::{Compare, CompareOp, KeyValue};
use lease_core::{AcquireRequest, Claim, FencingToken, GrantId, HolderId, LeaseName, LeaseRecord, Metadata};
use serde::{Deserialize, Serialize};

use crate::remaining::TimeLeft;

/// The value of a grant's key, or of the block that keeps a name blocked after a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The nonce (S13), in hexadecimal. It is the first field, so that a transaction can compare it; see [`is_of`].
    grant: String,
    pub(crate) holder: HolderId,
    pub(crate) ttl_seconds: u64,
    /// For people (S3). It is a time of the holder's clock, because etcd shows none.
    acquired_at_us: u64,
    #[serde(default)]
    metadata_revision: u64,
    #[serde(default)]
    metadata: Metadata,
    /// How the grant ended; only in a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
}

/// The end of a grant whose name stays blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// The token of the grant.
    pub(crate) token: u64,
    pub(crate) how: How,
    /// The holder that may acquire the name although it is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reserved_for: Option<HolderId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    Broken,
    Released,
}

impl Record {
    pub(crate) fn new(request: &AcquireRequest, ttl: Duration, acquired_at: SystemTime) -> Self {
        let acquired_at = acquired_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            holder: request.holder.clone(),
            grant: request.grant.to_string(),
            ttl_seconds: ttl.as_secs(),
            acquired_at_us: u64::try_from(acquired_at.as_micros()).unwrap_or(u64::MAX),
            metadata_revision: 0,
            metadata: request.metadata.clone(),
            ended: None,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Never fails: a map with text keys can be written as JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns whether this is the record of the grant with this holder and nonce.
    pub(crate) fn belongs_to(&self, holder: &HolderId, grant: GrantId) -> bool {
        self.holder == *holder && self.grant == grant.to_string()
    }

    pub(crate) fn is_claimed_by(&self, claim: &Claim) -> bool {
        self.belongs_to(&claim.holder, claim.grant)
    }

    /// Returns the value of the block after the grant with this token.
    pub(crate) fn block(&self, token: u64, how: How, reserved_for: Option<HolderId>) -> Self {
        Self { ended: Some(Ended { token, how, reserved_for }), ..self.clone() }
    }

    /// Sets the metadata, if its revision is higher. Returns whether it was set.
    pub(crate) fn update(&mut self, revision: u64, metadata: &Metadata) -> bool {
        let is_newer = revision > self.metadata_revision;
        if is_newer {
            self.metadata_revision = revision;
            self.metadata = metadata.clone();
        }
        is_newer
    }
}

/// The beginning of a value, up to the nonce.
const BEGINNING: &str = "{\"grant\":\"";

/// Returns the comparisons with which a transaction succeeds only while the key belongs to this grant (S7, S11). Comparing
/// revisions is not enough: they start again when the servers' data is lost, and another grant may have the same ones.
pub(crate) fn is_of(key: &str, grant: GrantId) -> [Compare; 2] {
    // The values that begin with the nonce and a quotation mark. '#' is the character after the quotation mark.
    [
        Compare::value(key, CompareOp::Greater, format!("{BEGINNING}{grant}\"")),
        Compare::value(key, CompareOp::Less, format!("{BEGINNING}{grant}#")),
    ]
}

/// A key and its value, as they were read.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// `None` if the value was not written by this crate.
    pub(crate) record: Option<Record>,
    pub(crate) token: u64,
    created_at: i64,
    value: Vec<u8>,
    /// The id of the etcd lease; zero if there is none and the key never expires.
    pub(crate) lease: i64,
}

impl Entry {
    pub(crate) fn of_grant(pair: &KeyValue) -> Self {
        let record = serde_json::from_slice(pair.value()).ok();
        let token = u64::try_from(pair.create_revision()).unwrap_or_default();
        let (created_at, value) = (pair.create_revision(), pair.value().to_vec());
        Self { record, token, created_at, value, lease: pair.lease() }
    }

    pub(crate) fn of_block(pair: &KeyValue) -> Self {
        let mut entry = Self::of_grant(pair);
        if let Some(ended) = entry.record.as_ref().and_then(|record| record.ended.as_ref()) {
            entry.token = ended.token;
        }
        entry
    }

    pub(crate) fn is_claimed_by(&self, claim: &Claim) -> bool {
        self.record.as_ref().is_some_and(|record| record.is_claimed_by(claim))
    }

    /// Returns the comparisons with which a transaction succeeds only while the value is the one that was read, on whichever
    /// etcd lease. It serves all values, including those of earlier versions, which do not begin with their nonce.
    pub(crate) fn is_unchanged(&self, key: &str) -> [Compare; 2] {
        [
            Compare::create_revision(key, CompareOp::Equal, self.created_at),
            Compare::value(key, CompareOp::Equal, self.value.clone()),
        ]
    }

    pub(crate) fn has_token(&self, token: i64) -> bool {
        self.created_at == token
    }

    /// Returns the comparison of the token, to be used together with [`is_of`].
    pub(crate) fn is_same_grant(&self, key: &str) -> Compare {
        Compare::create_revision(key, CompareOp::Equal, self.created_at)
    }

    /// Returns whether [`is_of`] is applicable.
    pub(crate) fn begins_with_its_nonce(&self) -> bool {
        self.value.starts_with(BEGINNING.as_bytes())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.value.len()
    }

    /// Returns the public record of the lease, with the time left of its etcd lease.
    pub(crate) fn as_lease(&self, name: &LeaseName, left: TimeLeft) -> Option<LeaseRecord> {
        let record = self.record.as_ref()?;
        Some(
            LeaseRecord::new(
                name.clone(),
                record.holder.clone(),
                FencingToken::new(self.token)?,
                Duration::from_secs(record.ttl_seconds),
                left.at_most,
            )
            .with_acquired_at(UNIX_EPOCH + Duration::from_micros(record.acquired_at_us))
            .with_metadata(record.metadata.clone())
            .with_released(record.ended.as_ref().is_some_and(|ended| ended.how == How::Released)),
        )
    }
}

/// The keys of a name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) grant: Option<Entry>,
    pub(crate) block: Option<Entry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_foreign_value_is_none() {
        let request = AcquireRequest::new(
            LeaseName::new("job").unwrap(),
            HolderId::new("Zoë \"1\"").unwrap(),
            GrantId::from_u128(7),
            Duration::from_secs(30),
        )
        .with_metadata(Metadata::new([("address", "10.0.0.7:443")]).unwrap());
        let mut record = Record::new(&request, request.ttl, UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(serde_json::from_slice::<Record>(&record.to_bytes()).unwrap(), record);
        assert!(record.to_bytes().starts_with(format!("{BEGINNING}{}\"", request.grant).as_bytes()));
        assert!(record.belongs_to(&request.holder, request.grant));
        assert!(!record.belongs_to(&request.holder, GrantId::from_u128(8)));
        assert!(record.update(2, &Metadata::empty()) && !record.update(1, &request.metadata));
        for foreign in ["", "hello", "{}", "[]", r#"{"holder":""}"#] {
            assert!(serde_json::from_str::<Record>(foreign).is_err(), "{foreign}");
        }
    }
}
