//! Connections to the server, and calls over them.

mod call;
mod connections;
mod connector;
mod pool;
mod url;

pub(crate) use self::{
    call::{ANSWER_GRACE, within_or_timed_out},
    connections::Connections,
    connector::Connector,
    pool::{Pool, Pooled},
    url::parse,
};
