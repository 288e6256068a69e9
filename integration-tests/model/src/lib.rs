//! The protocol of a lease as a small model: two clients, one name, a store, a fenced resource, and a network that delays,
//! loses, repeats and reorders whatever it likes. A model checker looks at every state that can be reached; and finds two
//! holders, or whatever else must never be, as soon as one of the rules of SAFETY.md is taken out.
//!
//! How it stands to the real thing:
//!
//! * The deadlines are computed by the very file that `lease-core` uses, `schedule.rs`.
//! * The store is a copy in short. A test gives it and the memory store the same requests, and compares the answers.
//! * The clients are freer than real ones: they ask, renew, give up, release and write at any moment at which that is
//!   possible at all. A client that does nothing for a while is one that is paused.
//! * Time comes in ticks of the store's clock. Each client has a clock of its own, slower or faster by as much as clients
//!   assume at most.

mod protocol;
mod rule;
#[allow(dead_code, unreachable_pub, reason = "a client's other timings are not part of the model")]
#[path = "../../../crates/lease-core/src/grant/schedule.rs"]
mod schedule;
mod store;

// Where that file looks for them.
use lease_core::{LeaseOptions, Moment, Renewal};

pub use crate::{
    protocol::{Action, Protocol, State, tell},
    rule::Rule,
    store::{Answer, Nonce, Request, Store, TTL, Tick},
};
