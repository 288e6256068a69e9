//! A candidate by the algorithm of client-go's `leaderelection` (with `LeaseLock`), written down as a peer for tests.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Admin, path};

/// When another holder's time is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum JudgesBy {
    /// By the candidate's own `LeaseDuration`, as client-go did until 2023.
    OwnDuration,
    /// By the `leaseDurationSeconds` of the Lease.
    ObservedDuration,
}

pub(crate) struct Peer {
    admin: Admin,
    namespace: String,
    object: String,
    identity: String,
    duration: Duration,
    judges_by: JudgesBy,
    observed: Option<(Value, Instant)>,
    /// When the last renewal that succeeded began.
    renewed: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(admin: &Admin, namespace: &str, object: &str, identity: &str, duration: Duration) -> Self {
        Self {
            admin: admin.clone(),
            namespace: namespace.to_owned(),
            object: object.to_owned(),
            identity: identity.to_owned(),
            duration,
            judges_by: JudgesBy::ObservedDuration,
            observed: None,
            renewed: None,
        }
    }

    pub(crate) fn judging_by(self, judges_by: JudgesBy) -> Self {
        Self { judges_by, ..self }
    }

    /// `tryAcquireOrRenew`.
    pub(crate) async fn try_acquire_or_renew(&mut self) -> bool {
        let began = Instant::now();
        let now = now();
        // It writes whole seconds, rounded down.
        let mut spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.duration.as_secs(),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        });
        let at = path(&self.namespace, &self.object);
        let (code, mut lease) = self.admin.request("GET", &at, Value::Null).await;
        if code == 404 {
            let metadata = json!({ "name": self.object, "namespace": self.namespace });
            let lease =
                json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec });
            let (code, _) = self.admin.post(&self.namespace, &lease).await;
            return self.has(code == 201, spec, began);
        }
        assert_eq!(code, 200, "{lease}");
        let old = lease["spec"].clone();
        if self.observed.as_ref().is_none_or(|(observed, _)| *observed != old) {
            self.observed = Some((old.clone(), Instant::now()));
        }
        let holder = old["holderIdentity"].as_str().unwrap_or_default();
        let (_, since) = self.observed.as_ref().unwrap();
        let lasts = match self.judges_by {
            JudgesBy::OwnDuration => self.duration,
            JudgesBy::ObservedDuration => Duration::from_secs(old["leaseDurationSeconds"].as_u64().unwrap_or_default()),
        };
        if !holder.is_empty() && since.elapsed() < lasts && holder != self.identity {
            self.renewed = None;
            return false;
        }
        let transitions = old["leaseTransitions"].as_u64().unwrap_or_default();
        if holder == self.identity {
            spec["acquireTime"] = old["acquireTime"].clone();
            spec["leaseTransitions"] = transitions.into();
        } else {
            spec["leaseTransitions"] = (transitions + 1).into();
        }
        // `LeaseLock.Update` sets the spec of the object that was read, and sends all of it: annotations of others stay.
        lease["spec"] = spec.clone();
        let (code, _) = self.admin.put(&self.namespace, &lease).await;
        self.has(code == 200, spec, began)
    }

    fn has(&mut self, has: bool, spec: Value, began: Instant) -> bool {
        if has {
            self.observed = Some((spec, Instant::now()));
            self.renewed = Some(began);
        }
        has
    }

    /// Whether it believes that it leads: until its `RenewDeadline`, two thirds of what others see as its duration.
    pub(crate) fn leads(&self) -> bool {
        let deadline = Duration::from_secs(self.duration.as_secs()) * 2 / 3;
        self.renewed.is_some_and(|renewed| renewed.elapsed() < deadline)
    }

    /// `release`, with `ReleaseOnCancel`.
    pub(crate) async fn release(&mut self) {
        let mut lease = self.admin.get(&self.namespace, &self.object).await;
        assert_eq!(lease["spec"]["holderIdentity"], self.identity.as_str());
        let now = now();
        lease["spec"] = json!({
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": lease["spec"]["leaseTransitions"],
        });
        let (code, answer) = self.admin.put(&self.namespace, &lease).await;
        assert_eq!(code, 200, "{answer}");
        self.renewed = None;
    }
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
