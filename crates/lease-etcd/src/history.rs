//! Whether the answers are of one history of one cluster.

use std::sync::{Mutex, MutexGuard, PoisonError};

use etcd_client::ResponseHeader;

/// The cluster that answers, and how far its revisions have come. They never fall, unless data was lost or an older state was
/// put back: that is the moment for which an operator wants a line in the log, since fencing tokens fall, too.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    cluster: Option<u64>,
    revision: i64,
}

/// What an answer tells about the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    GoesOn,
    AnotherCluster,
    HasFallen,
}

impl History {
    /// How far it has come. Whatever is asked from now on is answered at this revision or a later one.
    pub(crate) fn revision(&self) -> i64 {
        self.lock().revision
    }

    /// Takes note of an answer to what was asked when the history had come to the revision `before`.
    pub(crate) fn goes_on(&self, before: i64, header: Option<&ResponseHeader>) {
        let Some(header) = header else { return };
        match self.note(before, header.cluster_id(), header.revision()) {
            Note::GoesOn => {}
            Note::AnotherCluster => tracing::warn!(
                cluster = format!("{:x}", header.cluster_id()),
                "another etcd cluster answers: its grants and fencing tokens are not those of the one before"
            ),
            Note::HasFallen => tracing::warn!(
                from = before,
                to = header.revision(),
                "the revision of etcd has fallen: data was lost or an older state was put back, and fencing tokens begin anew"
            ),
        }
    }

    fn note(&self, before: i64, cluster: u64, revision: i64) -> Note {
        let mut known = self.lock();
        let note = match known.cluster {
            Some(known) if known != cluster => Note::AnotherCluster,
            _ if revision < before => Note::HasFallen,
            _ => Note::GoesOn,
        };
        known.cluster = Some(cluster);
        known.revision = if note == Note::GoesOn { known.revision.max(revision) } else { revision };
        note
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_come_out_of_order_are_one_history() {
        let history = History::default();
        assert_eq!(history.note(0, 1, 10), Note::GoesOn);
        // Two that were asked at the same time.
        let before = history.revision();
        assert_eq!(history.note(before, 1, 15), Note::GoesOn);
        assert_eq!(history.note(before, 1, 12), Note::GoesOn);
        assert_eq!(history.revision(), 15);
        // Lost, or another one: that one counts from now on.
        assert_eq!(history.note(history.revision(), 1, 14), Note::HasFallen);
        assert_eq!(history.note(history.revision(), 2, 20), Note::AnotherCluster);
        assert_eq!(history.note(history.revision(), 2, 20), Note::GoesOn);
        assert_eq!(history.revision(), 20);
    }
}
