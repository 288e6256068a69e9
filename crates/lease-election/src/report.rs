//! The report of a term to the observers of the client.

use lease_core::{ElectionChange, LeaseClient, LeaseEvent, LeaseHandle, LeaseState, LossReason, Moment};

/// Reports one term: its beginning, when it is created; its draining; and its end, exactly once.
///
/// If it is dropped before, because the runtime has ended, it reports the end.
#[derive(Debug)]
pub(crate) struct TermReport {
    client: LeaseClient,
    lease: LeaseHandle,
    began: Moment,
    has_ended: bool,
}

impl TermReport {
    /// Reports that the candidate leads.
    pub(crate) fn begin(client: &LeaseClient, lease: LeaseHandle) -> Self {
        let report = Self { client: client.clone(), lease, began: client.clock().now(), has_ended: false };
        report.report(ElectionChange::Leads);
        report
    }

    /// Reports that the leader is about to step down.
    pub(crate) fn draining(&self) {
        self.report(ElectionChange::Draining);
    }

    /// Reports the end of the term, with this reason. Must be called before the lease is released: another candidate can win, and
    /// report it, as soon as the store has the release.
    pub(crate) fn end(mut self, reason: LossReason) {
        self.ended(reason);
    }

    fn ended(&mut self, reason: LossReason) {
        self.has_ended = true;
        let led_for = self.client.clock().now().saturating_since(self.began);
        self.report(ElectionChange::Ended { reason, led_for });
    }

    fn report(&self, change: ElectionChange) {
        let (name, holder) = (self.lease.name().clone(), self.lease.holder().clone());
        self.client.report(LeaseEvent::election(name, holder, self.lease.token(), change));
    }
}

impl Drop for TermReport {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // The guard may have been dropped with the task: that is no step down.
        let reason = match self.lease.state() {
            LeaseState::Lost(reason) if reason != LossReason::Released => reason,
            _ => LossReason::ClientGone,
        };
        self.ended(reason);
    }
}
