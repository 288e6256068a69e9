//! The protocol of a lease as a small model: two clients, one name, a store, a fenced resource, and a network that delays,
//! loses, repeats and reorders messages. A model checker visits every reachable state. If one of the rules of SAFETY.md is left
//! out, it finds two holders or another violation.
//!
//! The model and the implementation:
//!
//! * The deadlines are computed by `schedule.rs` of `lease-core` itself.
//! * The store is a short copy. A test sends the same requests to it and to the memory store, and compares the answers.
//! * The clients have more freedom than real ones: they acquire, renew, cancel, release and write at any possible moment. A
//!   client that does nothing for a while is a paused one.
//! * Time advances in ticks of the store's clock. Each client has a clock of its own, slower or faster by the largest error that
//!   clients assume.

mod protocol;
mod rule;
#[allow(dead_code, unreachable_pub, reason = "a client's other timings are not part of the model")]
#[path = "../../../crates/lease-core/src/grant/schedule.rs"]
mod schedule;
mod store;

// The paths that `schedule.rs` imports.
use lease_core::{LeaseOptions, Moment, Renewal};

pub use crate::{
    protocol::{Action, Protocol, State, describe},
    rule::Rule,
    store::{Answer, Nonce, Request, Store, TTL, Tick},
};
