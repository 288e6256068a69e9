//! What is measured, a file each.

pub(crate) mod acquire;
