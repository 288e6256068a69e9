//! The operations of the store.

mod acquire;
mod admin;
mod release;
mod renew;

pub(crate) use self::{
    acquire::{Acquire, MAX_TTL, MIN_TTL},
    release::Release,
    renew::Renew,
};
