//! Ports for servers.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    sync::{LazyLock, Mutex, PoisonError},
};

use rand::RngExt;

use crate::{ServerError, pool};

/// Below the range for outgoing connections, which begins at 32768 on Linux. Therefore no client connection can take the
/// port of a server that restarts, not even one that connects to itself.
const PORTS: Range<u16> = 10_240..30_000;

/// The ports that this process has used. The pool has those of other processes of the run. A port is never used by a second
/// server, so that a server which restarts does not meet another test's server on its port.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Starts something on a free port. Another process may take the port in between: a failure whose text contains `taken` is
/// repeated with another port.
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

/// Returns a port of the loopback interface on which nothing listens, and never the same one twice. Another process may take
/// it before it is used.
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
