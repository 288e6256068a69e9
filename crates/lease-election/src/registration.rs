//! The registration of a candidate: a lease of its own with public metadata, which ends with the candidate.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lease_core::{ErrorKind, HolderId, InvalidMetadata, LeaseClient, LeaseName, LeaseOptions, LeaseRecord, Metadata};
use tokio::sync::watch;

use crate::{CandidateOptions, Health, pause::Pause};

const PRIORITY: &str = "priority";
const HEALTH: &str = "health";
const FIT: &str = "fit";
/// The prefix of the keys of health details.
const DETAIL: &str = "detail.";
/// The prefix of the keys of the candidate's own metadata.
const OWN: &str = "own.";

/// A live candidate of a group, from [`Election::candidates`](crate::Election::candidates).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CandidateInfo {
    /// The id of the candidate.
    pub id: HolderId,
    /// Its last published health. The score has four decimals.
    pub health: Health,
    /// Whether it leads or campaigns: it is healthy enough, and does not pause after a step-down.
    pub is_fit: bool,
    /// Whether it leads.
    pub is_leader: bool,
    /// Its priority.
    pub priority: i64,
    /// Its metadata; see [`CandidateOptions::metadata`].
    pub metadata: Metadata,
    /// The time since its last sign of life. A candidate without any disappears after the lease duration.
    pub last_seen: Duration,
}

impl CandidateInfo {
    pub(crate) fn of(record: LeaseRecord, leader: Option<&HolderId>) -> Self {
        let parts = |prefix: &str| -> BTreeMap<String, String> {
            let entries = record.metadata.iter();
            entries.filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.to_owned()))).collect()
        };
        let score = record.metadata.get(HEALTH).and_then(|score| score.parse().ok()).unwrap_or(0.0);
        let health = parts(DETAIL)
            .into_iter()
            .fold(Health::with_score(score), |health, (key, value)| health.with_detail(key, value));
        Self {
            health,
            is_fit: record.metadata.get(FIT) == Some("true"),
            is_leader: leader == Some(&record.holder),
            priority: record.metadata.get(PRIORITY).and_then(|priority| priority.parse().ok()).unwrap_or(0),
            metadata: Metadata::new(parts(OWN)).unwrap_or_default(),
            last_seen: record.ttl.saturating_sub(record.remaining),
            id: record.holder,
        }
    }
}

/// Returns the metadata that a candidate publishes.
pub(crate) fn metadata(options: &CandidateOptions, health: &Health, is_fit: bool) -> Result<Metadata, InvalidMetadata> {
    let details = health.details().iter().map(|(key, value)| (format!("{DETAIL}{key}"), value.clone()));
    let own = options.metadata.iter().map(|(key, value)| (format!("{OWN}{key}"), value.to_owned()));
    let fixed = [
        (PRIORITY.to_owned(), options.priority.to_string()),
        // Always of the same length: if it fitted when the candidate was created, it always fits.
        (HEALTH.to_owned(), format!("{:.4}", health.score())),
        (FIT.to_owned(), is_fit.to_string()),
    ];
    Metadata::new(fixed.into_iter().chain(details).chain(own))
}

/// Keeps the registration published until the sender of its metadata is dropped, and then releases it.
pub(crate) async fn publish(
    client: LeaseClient,
    name: LeaseName,
    options: LeaseOptions,
    mut metadata: watch::Receiver<Metadata>,
    mut pause: Pause,
) {
    let clock = Arc::clone(client.clock());
    loop {
        let mut published = metadata.borrow_and_update().clone();
        let registering = client.acquire(&name, options.clone().with_metadata(published.clone()));
        tokio::pin!(registering);
        let lease = tokio::select! {
            biased;
            lease = &mut registering => lease,
            () = sender_dropped(&mut metadata) => return,
            () = clock.sleep_until(clock.now() + options.ttl * 2) => {
                // Longer than a registration survives a crash.
                tracing::warn!(
                    target: "lease",
                    %name,
                    "a candidate waits, because another one has its id: set another id with CandidateOptions::with_id"
                );
                tokio::select! {
                    biased;
                    lease = &mut registering => lease,
                    () = sender_dropped(&mut metadata) => return,
                }
            }
        };
        let lease = match lease {
            Ok(lease) => lease,
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                tracing::warn!(target: "lease", %name, %error, "a candidate cannot be registered: it tries again");
                tokio::select! {
                    biased;
                    () = pause.wait() => continue,
                    () = sender_dropped(&mut metadata) => return,
                }
            }
        };
        // A score that keeps changing is not written each time.
        let mut not_before = pause.end();
        loop {
            let latest = metadata.borrow_and_update().clone();
            let is_urgent = latest.get(FIT) != published.get(FIT);
            if latest != published && (is_urgent || not_before <= clock.now()) {
                // After a failure, the next renewal writes the metadata.
                if let Err(error) = lease.set_metadata(latest.clone()).await {
                    tracing::debug!(target: "lease", %name, %error, "metadata was not written: the next renewal writes it");
                }
                not_before = pause.end();
                published = latest;
                continue;
            }
            tokio::select! {
                biased;
                changed = metadata.changed() => if changed.is_err() {
                    let _ = lease.release().await;
                    return;
                },
                _ = lease.lost() => break,
                () = clock.sleep_until(not_before), if latest != published => {}
            }
        }
    }
}

async fn sender_dropped(metadata: &mut watch::Receiver<Metadata>) {
    while metadata.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use lease_core::FencingToken;

    use super::*;

    #[test]
    fn published_metadata_is_complete_and_is_read_again() {
        let own = Metadata::new([("address", "10.0.0.7:443")]).unwrap();
        let options = CandidateOptions::new().with_priority(-3).with_metadata(own.clone());
        let health = Health::with_score(0.93).with_detail("disk", "61 % full");
        let record = LeaseRecord::new(
            LeaseName::new("elections/g/candidates/a").unwrap(),
            HolderId::new("a").unwrap(),
            FencingToken::new(7).unwrap(),
            Duration::from_secs(15),
            Duration::from_secs(11),
        )
        .with_acquired_at(SystemTime::UNIX_EPOCH)
        .with_metadata(metadata(&options, &health, true).unwrap());
        let info = CandidateInfo::of(record, Some(&HolderId::new("a").unwrap()));
        assert_eq!((info.priority, info.is_fit, info.is_leader), (-3, true, true));
        assert_eq!((info.health, info.metadata, info.last_seen), (health, own, Duration::from_secs(4)));
    }
}
