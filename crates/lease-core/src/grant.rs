//! One grant: until when it is held, and when it is renewed.

mod latch;
mod schedule;
mod state;
mod sync;
mod tenure;
mod validate;

pub(crate) use self::{
    schedule::{Plan, Schedule, least_time},
    tenure::{FailedRenewal, Granted, PendingRelease, Tenure},
};
pub use self::{state::LeaseState, validate::InvalidOptions};
