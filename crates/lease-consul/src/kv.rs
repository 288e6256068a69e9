//! The keys of one store, at one agent: what all requests share.

use crate::{http::Http, keys::Keys};

/// The answer is that of a leader which has just made sure that it is one: the default mode may show what a deposed one has.
pub(crate) const CONSISTENT: (&str, &str) = ("consistent", "");

/// The keys of one store, at one agent.
#[derive(Debug)]
pub(crate) struct Kv {
    pub(crate) http: Http,
    pub(crate) keys: Keys,
    pub(crate) namespace: Option<String>,
    pub(crate) partition: Option<String>,
}
