//! Values that are parsed once and are then valid everywhere.

mod holder;
mod loss;
mod metadata;
mod name;
mod token;

pub use self::{
    holder::{HolderId, InvalidHolderId},
    loss::{LeaseLost, LossReason},
    metadata::{InvalidMetadata, Metadata},
    name::{IntoLeaseName, InvalidName, LeaseName},
    token::{FencingToken, GrantId},
};
