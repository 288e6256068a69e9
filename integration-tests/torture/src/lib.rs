//! The torture test: worker processes contend for leases through a real store, a fenced resource watches their tokens,
//! and a nemesis does harm from a printed seed. Everybody writes down what they saw; a checker judges it afterwards.

pub mod check;
pub mod picture;
pub mod record;
pub mod report;
