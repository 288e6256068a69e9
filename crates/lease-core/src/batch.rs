//! Batches many requests into few store calls.
//!
//! A [`Batcher`] per operation sorts requests into queues, by the part of the store and by timeout. A queue makes the calls: a
//! lone request is sent at once, and requests that arrive while a call is in flight are sent together with the next one.

mod batcher;
mod catch_panic;
mod contact;
mod context;
mod operation;
mod pacing;
mod queue;
mod request;
mod spawn_on_drop;

pub(crate) use self::{
    batcher::Batcher,
    catch_panic::{catch_panic, catch_panic_async},
    contact::Contact,
    context::Context,
    operation::{Acquire, Release, Renew},
    pacing::Pacing,
    request::{Answered, LARGEST_BATCH, Request},
    spawn_on_drop::SpawnOnDrop,
};
