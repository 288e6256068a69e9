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

impl History {
    /// How far it has come. Whatever is asked from now on is answered at this revision or a later one.
    pub(crate) fn revision(&self) -> i64 {
        self.lock().revision
    }

    /// Takes note of an answer to what was asked when the history had come to the revision `before`.
    pub(crate) fn goes_on(&self, before: i64, header: Option<&ResponseHeader>) {
        if let Some(header) = header {
            self.goes_on_in(before, header.cluster_id(), header.revision());
        }
    }

    fn goes_on_in(&self, before: i64, cluster: u64, revision: i64) {
        let mut known = self.lock();
        let other = known.cluster.filter(|known| *known != cluster);
        if let Some(other) = other {
            tracing::warn!(
                from = format!("{other:x}"),
                to = format!("{cluster:x}"),
                "another etcd cluster answers: its grants and fencing tokens are not those of the one before"
            );
        } else if revision < before {
            tracing::warn!(
                from = before,
                to = revision,
                "the revision of etcd has fallen: data was lost or an older state was put back, and fencing tokens begin anew"
            );
        }
        let is_another = other.is_some() || revision < before;
        known.cluster = Some(cluster);
        known.revision = if is_another { revision } else { known.revision.max(revision) };
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
        history.goes_on_in(0, 1, 10);
        // Two that were asked at the same time.
        let before = history.revision();
        history.goes_on_in(before, 1, 15);
        history.goes_on_in(before, 1, 12);
        assert_eq!(history.revision(), 15);
        // Lost, or another one: that one counts from now on.
        history.goes_on_in(history.revision(), 1, 3);
        assert_eq!(history.revision(), 3);
        history.goes_on_in(history.revision(), 2, 2);
        assert_eq!(history.revision(), 2);
    }
}
