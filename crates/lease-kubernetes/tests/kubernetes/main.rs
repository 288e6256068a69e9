//! The store on a real kube-apiserver: the suites, peers by the algorithm of client-go, rights, faults.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "a test may sleep")]

mod common;
mod credentials;

mod client_go;
mod faults;
mod kubectl;
mod peer;
mod requests;
mod rights;

mod conformance {
    lease_testkit::conformance!(real, crate::common::KubernetesHarness::start);
}

mod elections {
    lease_testkit::elections!(real, crate::common::KubernetesHarness::start);
}
