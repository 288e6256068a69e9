//! Values that are parsed once and are then valid everywhere.

mod correlation;
mod holder;
mod loss;
mod metadata;
mod name;
mod token;

pub use self::{
    correlation::{Correlation, InvalidCorrelation},
    holder::{HolderId, InvalidHolderId},
    loss::{LeaseLost, LossReason},
    metadata::{InvalidMetadata, Metadata},
    name::{IntoLeaseName, InvalidName, LeaseName},
    token::{FencingToken, GrantId},
};
