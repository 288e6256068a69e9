//! Distributed leases.
mod clock;
mod error;
mod holder;
mod metadata;
mod name;
mod store;
mod token;
mod wakeups;

pub use async_trait::async_trait;
pub use clock::{Clock, Moment, Sleep, SystemClock, TokioClock};
pub use error::{Error, ErrorKind, Result};
pub use holder::{HolderId, InvalidHolderId};
pub use metadata::{InvalidMetadata, Metadata};
pub use name::{InvalidName, LeaseName};
pub use store::{
    AcquireRequest, Acquired, Break, Capabilities, Claim, ExpiryJudge, Grant, LeaseRecord, LeaseStore, LossReason,
    MetadataUpdate, ReleaseRequest, Released, RenewRequest, Renewed, TokensSurvive,
};
pub use token::{FencingToken, GrantId};
pub use wakeups::{WakeupRegistry, Wakeups};
