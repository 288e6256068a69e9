//! The promises, one function each. `conformance.rs` lists them.
#![allow(missing_docs, reason = "the modules are called by the macro only")]

pub mod batching;
pub mod breaking;
pub mod contending;
pub mod electing;
pub mod ending;
pub mod failing;
pub mod granting;
pub mod holding;
pub mod looking;
pub mod naming;
pub mod releasing;
pub mod renewing;
pub mod repeating;
pub mod rolling;
pub mod waking;
