//! The measurements, one file each.

pub(crate) mod acquire;
pub(crate) mod contention;
pub(crate) mod hand_over;
pub(crate) mod local;
pub(crate) mod renewal;
pub(crate) mod take_over;
pub(crate) mod waiters;
