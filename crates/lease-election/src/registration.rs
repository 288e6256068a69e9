//! What everybody can see of a candidate: a lease of its own, which ends with it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lease_core::{ErrorKind, HolderId, InvalidMetadata, LeaseClient, LeaseName, LeaseOptions, LeaseRecord, Metadata};
use tokio::sync::watch;

use crate::{CandidateOptions, Health, pause::Pause};

const PRIORITY: &str = "priority";
const HEALTH: &str = "health";
const FIT: &str = "fit";
/// Before the keys of the details of the health.
const DETAIL: &str = "detail.";
/// Before the keys of the candidate's own metadata.
const OWN: &str = "own.";

/// A live candidate of a group, as anybody can see it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CandidateInfo {
    /// Who it is.
    pub id: HolderId,
    /// Its health when it last said so, the score to four decimals.
    pub health: Health,
    /// Whether it campaigns, or would: it is healthy enough, and does not stay away.
    pub is_fit: bool,
    /// Whether it leads.
    pub is_leader: bool,
    /// Its priority.
    pub priority: i64,
    /// What it says about itself.
    pub metadata: Metadata,
    /// How long ago it gave a sign of life. Those that give none disappear after the lease duration.
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

/// What a candidate publishes of itself.
pub(crate) fn card(options: &CandidateOptions, health: &Health, is_fit: bool) -> Result<Metadata, InvalidMetadata> {
    let details = health.details().iter().map(|(key, value)| (format!("{DETAIL}{key}"), value.clone()));
    let own = options.metadata.iter().map(|(key, value)| (format!("{OWN}{key}"), value.to_owned()));
    let fixed = [
        (PRIORITY.to_owned(), options.priority.to_string()),
        // Always as long: the room for it is there if it was when the candidate was made.
        (HEALTH.to_owned(), format!("{:.4}", health.score())),
        (FIT.to_owned(), is_fit.to_string()),
    ];
    Metadata::new(fixed.into_iter().chain(details).chain(own))
}

/// Keeps the card published until its sender is gone, then takes it away.
pub(crate) async fn publish(
    client: LeaseClient,
    name: LeaseName,
    options: LeaseOptions,
    mut cards: watch::Receiver<Metadata>,
    mut pause: Pause,
) {
    let clock = Arc::clone(client.clock());
    loop {
        let card = cards.borrow_and_update().clone();
        let registering = client.acquire(&name, options.clone().with_metadata(card.clone()));
        tokio::pin!(registering);
        let lease = tokio::select! {
            biased;
            lease = &mut registering => lease,
            () = gone(&mut cards) => return,
            () = clock.sleep_until(clock.now() + options.ttl * 2) => {
                // Longer than a card outlives a crash.
                tracing::warn!(target: "lease", %name, "another candidate has this id: give each one its own");
                tokio::select! {
                    biased;
                    lease = &mut registering => lease,
                    () = gone(&mut cards) => return,
                }
            }
        };
        let lease = match lease {
            Ok(lease) => lease,
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                tracing::warn!(target: "lease", %name, %error, "a candidate cannot be published");
                tokio::select! {
                    biased;
                    () = pause.wait() => continue,
                    () = gone(&mut cards) => return,
                }
            }
        };
        let mut published = card;
        // A score that changes all the time is not written all the time.
        let mut not_before = pause.end();
        loop {
            let card = cards.borrow_and_update().clone();
            let is_urgent = card.get(FIT) != published.get(FIT);
            if card != published && (is_urgent || not_before <= clock.now()) {
                // After a failure the change goes along with the next renewal.
                if let Err(error) = lease.set_metadata(card.clone()).await {
                    tracing::debug!(target: "lease", %name, %error, "a change of a candidate is late");
                }
                not_before = pause.end();
                published = card;
                continue;
            }
            tokio::select! {
                biased;
                changed = cards.changed() => if changed.is_err() {
                    let _ = lease.release().await;
                    return;
                },
                _ = lease.lost() => break,
                () = clock.sleep_until(not_before), if card != published => {}
            }
        }
    }
}

async fn gone(cards: &mut watch::Receiver<Metadata>) {
    while cards.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use lease_core::FencingToken;

    use super::*;

    #[test]
    fn a_card_says_everything_and_is_read_again() {
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
        .with_metadata(card(&options, &health, true).unwrap());
        let info = CandidateInfo::of(record, Some(&HolderId::new("a").unwrap()));
        assert_eq!((info.priority, info.is_fit, info.is_leader), (-3, true, true));
        assert_eq!((info.health, info.metadata, info.last_seen), (health, own, Duration::from_secs(4)));
    }
}
