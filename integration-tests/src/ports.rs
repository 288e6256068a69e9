//! Ports for servers.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    sync::{LazyLock, Mutex, PoisonError},
};

use rand::RngExt;

use crate::{ServerError, pool};

/// Below what Linux (from 32768 on) and others give to outgoing connections. A server that restarts finds its port free
/// again: no client's connection took it, not even one that tried to reach the server and met itself.
const PORTS: Range<u16> = 10_240..30_000;

/// What this process was given so far; the pool knows of other processes of the run. A port that is given once stays its owner's: a
/// server that starts later, or was killed and starts again, does not find another test's server there.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Starts something on a free port. Between the search for one and its use, another process may take it: a failure with
/// this in its text is tried again.
pub(crate) fn on_a_free_port<T>(
    taken: &str,
    mut start: impl FnMut(u16) -> Result<T, ServerError>,
) -> Result<T, ServerError> {
    let mut attempts = 5;
    loop {
        attempts -= 1;
        match start(free_port()?) {
            Err(error) if attempts > 0 && error.to_string().contains(taken) => {}
            outcome => return outcome,
        }
    }
}

/// A port of the loopback interface on which nothing listens, never the same one twice. Another process may take it
/// before you do.
pub(crate) fn free_port() -> Result<u16, ServerError> {
    let mut last_error = None;
    for _ in 0..1000 {
        let port = rand::rng().random_range(PORTS);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) && pool::claims_port(port) => {
                return Ok(port);
            }
            Ok(_) => {}
            Err(error) => last_error = Some(error),
        }
    }
    Err(ServerError::Failed(format!("no free port: {last_error:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports: HashSet<_> = (0..2000).map(|_| free_port().expect("a port")).collect();
        assert_eq!(ports.len(), 2000);
    }
}
