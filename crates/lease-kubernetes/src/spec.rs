//! What other programs see of a lease: the fields that client-go's leader election reads and writes.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lease_core::HolderId;
use lease_document::{Foreign, Shown};
use serde::{Deserialize, Serialize};

/// The holder of a name that is free for nobody, and reserved for nobody.
const BLOCKED: &str = "blocked";

/// For how long the Lease of another program is respected that does not say for how long.
const UNKNOWN: Duration = Duration::from_secs(60);

/// The `spec` of a Lease, as far as client-go has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) holder_identity: Option<String>,
    pub(crate) lease_duration_seconds: Option<i32>,
    pub(crate) acquire_time: Option<String>,
    pub(crate) renew_time: Option<String>,
    pub(crate) lease_transitions: Option<i32>,
}

impl Spec {
    /// Returns what shows this record. `before` is the number of transitions so far.
    ///
    /// A name that is blocked looks held, since another program would take it otherwise. Durations are rounded up: no program that
    /// watches the Lease takes it before the holder has given it up.
    pub(crate) fn of(shown: &Shown, before: i32, now: SystemTime) -> Self {
        let holder = match &shown.reserved_for {
            _ if shown.lasts.is_zero() => "",
            Some(successor) if shown.has_ended => successor.as_str(),
            None if shown.has_ended => BLOCKED,
            _ => shown.holder.as_str(),
        };
        let seconds = shown.lasts.as_secs() + u64::from(shown.lasts.subsec_nanos() > 0);
        let is_new = shown.token.is_none();
        Self {
            holder_identity: Some(holder.to_owned()),
            // Kubernetes refuses zero.
            lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX).max(1)),
            acquire_time: Some(micro_time(shown.acquired_at)),
            renew_time: Some(micro_time(now)),
            lease_transitions: Some(before.saturating_add(i32::from(is_new)).max(0)),
        }
    }

    /// Returns whose lease this is, if it is not ours.
    pub(crate) fn foreign(&self) -> Foreign {
        match &self.holder_identity {
            Some(holder) if !holder.is_empty() => {
                let seconds = self.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
                let lasts = seconds.map_or(UNKNOWN, Duration::from_secs);
                Foreign::held(HolderId::from_store(holder), lasts)
            }
            _ => Foreign::Free,
        }
    }
}

/// Returns the time as Kubernetes writes a `MicroTime`: a spec that is read back must be equal.
fn micro_time(time: SystemTime) -> String {
    let timestamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    timestamp.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn record(phase: &str, lasts_us: u64, reserved_for: &str) -> Shown {
        let record = format!(
            r#"{{"name":"job","holder":"pod-1","grant":"1","token":7,"acquired_us":1795968834000001,"ttl_us":30000000,
                "lasts_us":{lasts_us},"phase":"{phase}"{reserved_for}}}"#
        );
        Shown::read(record.as_bytes()).unwrap()
    }

    fn shown(phase: &str, lasts_us: u64, reserved_for: &str) -> (String, i32) {
        let spec = Spec::of(&record(phase, lasts_us, reserved_for), 3, UNIX_EPOCH);
        (spec.holder_identity.unwrap(), spec.lease_duration_seconds.unwrap())
    }

    #[test]
    fn durations_are_rounded_up_and_a_blocked_name_looks_held() {
        let reserved = r#","reserved_for":"pod-2""#;
        assert_eq!(shown("held", 2_500_000, ""), ("pod-1".into(), 3));
        assert_eq!(shown("held", 3_000_000, ""), ("pod-1".into(), 3));
        assert_eq!(shown("held", u64::MAX, ""), ("pod-1".into(), i32::MAX));
        assert_eq!(shown("released", 0, reserved), (String::new(), 1));
        assert_eq!(shown("released", 1, reserved), ("pod-2".into(), 1));
        assert_eq!(shown("released", 4_000_001, ""), ("blocked".into(), 5));
        assert_eq!(shown("broken", 4_000_000, ""), ("blocked".into(), 4));
        assert_eq!(shown("broken", 0, ""), (String::new(), 1));
    }

    #[test]
    fn a_grant_is_a_transition_and_a_renewal_is_none() {
        let renewal = record("held", 1, "");
        let spec = Spec::of(&renewal, 3, UNIX_EPOCH + Duration::from_millis(1));
        assert_eq!(spec.lease_transitions, Some(3));
        assert_eq!(spec.acquire_time.as_deref(), Some("2026-11-29T16:13:54.000001Z"));
        assert_eq!(spec.renew_time.as_deref(), Some("1970-01-01T00:00:00.001000Z"));
        let grant = Shown::read(
            br#"{"name":"job","holder":"a","grant":"1","acquired_us":0,"ttl_us":1,"lasts_us":1,"phase":"held"}"#,
        );
        let grant = grant.unwrap();
        assert_eq!(Spec::of(&grant, 3, UNIX_EPOCH).lease_transitions, Some(4));
        assert_eq!(Spec::of(&grant, i32::MAX, UNIX_EPOCH).lease_transitions, Some(i32::MAX));
    }

    #[test]
    fn an_empty_holder_is_none() {
        assert_eq!(Spec::default().foreign(), Foreign::Free);
        let spec = Spec { holder_identity: Some(String::new()), lease_duration_seconds: Some(9), ..Spec::default() };
        assert_eq!(spec.foreign(), Foreign::Free);
        let spec = Spec { holder_identity: Some("peer".into()), ..spec };
        assert_eq!(spec.foreign(), Foreign::held(HolderId::from_store("peer"), Duration::from_secs(9)));
        let spec = Spec { lease_duration_seconds: None, ..spec };
        assert_eq!(spec.foreign(), Foreign::held(HolderId::from_store("peer"), UNKNOWN));
    }
}
