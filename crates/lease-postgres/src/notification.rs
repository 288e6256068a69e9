//! Hints between processes that a lease has changed: `NOTIFY` and `LISTEN` (S20).

mod listener;
mod notifier;

pub(crate) use self::{listener::Listener, notifier::Notifier};
