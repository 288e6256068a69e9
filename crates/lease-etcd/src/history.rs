//! Checks that all answers belong to one history of one cluster.

use std::sync::{Mutex, MutexGuard, PoisonError};

use etcd_client::ResponseHeader;

/// The id of the cluster that answers, and its highest revision. Revisions never fall, unless data was lost or an older state
/// was restored. Fencing tokens fall with them, so this is logged for the operator.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    cluster: Option<u64>,
    revision: i64,
}

/// The relation of an answer to the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    Continues,
    AnotherCluster,
    Fell,
}

impl History {
    /// Returns the highest revision. A request that is sent from now on is answered at this revision or a later one.
    pub(crate) fn revision(&self) -> i64 {
        self.lock().revision
    }

    /// Records the header of an answer. `before` is the highest revision when the request was sent. Logs a warning if the
    /// answer does not continue the history.
    pub(crate) fn observe(&self, before: i64, header: Option<&ResponseHeader>) {
        let Some(header) = header else { return };
        match self.note(before, header.cluster_id(), header.revision()) {
            Note::Continues => {}
            Note::AnotherCluster => tracing::warn!(
                cluster = format!("{:x}", header.cluster_id()),
                "another etcd cluster answers, with other leases and fencing tokens: check the endpoints"
            ),
            Note::Fell => tracing::warn!(
                from = before,
                to = header.revision(),
                "the revision of etcd has fallen, because data was lost or an older state restored: fencing tokens may repeat"
            ),
        }
    }

    fn note(&self, before: i64, cluster: u64, revision: i64) -> Note {
        let mut known = self.lock();
        let note = match known.cluster {
            Some(known) if known != cluster => Note::AnotherCluster,
            _ if revision < before => Note::Fell,
            _ => Note::Continues,
        };
        known.cluster = Some(cluster);
        known.revision = if note == Note::Continues { known.revision.max(revision) } else { revision };
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
        assert_eq!(history.note(0, 1, 10), Note::Continues);
        // Two requests in flight at the same time.
        let before = history.revision();
        assert_eq!(history.note(before, 1, 15), Note::Continues);
        assert_eq!(history.note(before, 1, 12), Note::Continues);
        assert_eq!(history.revision(), 15);
        // Lost data, or another cluster: its state counts from now on.
        assert_eq!(history.note(history.revision(), 1, 14), Note::Fell);
        assert_eq!(history.note(history.revision(), 2, 20), Note::AnotherCluster);
        assert_eq!(history.note(history.revision(), 2, 20), Note::Continues);
        assert_eq!(history.revision(), 20);
    }
}
