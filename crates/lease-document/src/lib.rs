//! PLACEHOLDER

mod about;
mod acquire;
mod attempt;
mod breaking;
mod changes;
mod document;
mod documents;
mod error;
mod escape;
mod known;
mod left;
mod listing;
mod purge;
mod record;
mod release;
mod renew;
mod seen;
mod shared;
mod store;
mod store_clock;

pub use about::About;
pub use changes::{Change, Changes};
pub use document::{Document, Looked, Page, Put, Version};
pub use documents::Documents;
pub use escape::{escape, escape_prefix, unescape};
pub use purge::Purged;
pub use store::{DocumentStore, DocumentStoreBuilder};
pub use store_clock::Sample;
