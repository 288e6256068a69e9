//! Ports for servers.

use std::{
    net::{Ipv4Addr, TcpListener},
    ops::Range,
};

use rand::RngExt;

use crate::ServerError;

/// Below what Linux (from 32768 on) and others give to outgoing connections. A server that restarts finds its port free
/// again: no client's connection took it, not even one that tried to reach the server and met itself.
const PORTS: Range<u16> = 10_240..30_000;

/// A port of the loopback interface on which nothing listens. Another process may take it before you do: be prepared to
/// ask again.
pub(crate) fn free_port() -> Result<u16, ServerError> {
    let mut last_error = None;
    for _ in 0..1000 {
        let port = rand::rng().random_range(PORTS);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last_error = Some(error),
        }
    }
    Err(ServerError::Failed(format!("no free port: {last_error:?}")))
}
