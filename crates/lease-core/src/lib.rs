//! Distributed leases.
mod attempt;
mod batch;
mod client;
mod clock;
mod core;
mod error;
mod holder;
mod lease;
mod metadata;
mod name;
mod observer;
mod options;
mod renewal;
mod schedule;
mod store;
mod tenure;
mod token;
mod waiting;
mod wakeups;
mod watch;

pub use async_trait::async_trait;
pub use client::LeaseClient;
pub use clock::{Clock, Moment, Sleep, SystemClock, TokioClock};
pub use error::{Error, ErrorKind, Result};
pub use holder::{HolderId, InvalidHolderId};
pub use lease::{Lease, LeaseHandle};
pub use metadata::{InvalidMetadata, Metadata};
pub use name::{InvalidName, LeaseName};
pub use observer::{AttemptOutcome, LeaseEvent, Observer};
pub use options::{InvalidOptions, LeaseOptions, Renewal};
pub use store::{
    AcquireRequest, Acquired, Break, Capabilities, Claim, ExpiryJudge, Grant, LeaseRecord, LeaseStore, LossReason,
    MetadataUpdate, ReleaseRequest, Released, RenewRequest, Renewed, TokensSurvive,
};
pub use tenure::{LeaseLost, LeaseState};
pub use token::{FencingToken, GrantId};
pub use wakeups::{WakeupRegistry, Wakeups};
pub use watch::LeaseWatch;
