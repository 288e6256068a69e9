//! The guarantees, one function each. `conformance.rs` and `elections.rs` list them.
#![allow(missing_docs, reason = "the modules are called by the macro only")]

pub mod batching;
pub mod breaking;
pub mod crashing;
pub mod deadlines;
pub mod electing;
pub mod failing;
pub mod granting;
pub mod keeping;
pub mod leaving;
pub mod loading;
pub mod locking;
pub mod looking;
pub mod losing;
pub mod mixing;
pub mod naming;
pub mod releasing;
pub mod renewing;
pub mod repeating;
pub mod rolling;
pub mod scoping;
pub mod trying;
pub mod waiting;
pub mod waking;
pub mod watching;
