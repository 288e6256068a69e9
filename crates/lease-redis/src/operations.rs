//! The operations on leases. Each is one script for many names; [`perform`] runs it.

mod acquire;
mod answer;
mod batch;
mod break_lease;
mod inspect;
mod record;
mod release;
mod renew;

pub(crate) use self::{
    acquire::Acquire,
    batch::perform,
    break_lease::break_lease,
    inspect::{Inspect, Inspected, inspect},
    release::Release,
    renew::Renew,
};
