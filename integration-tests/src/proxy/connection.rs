//! The connections of a proxy.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lease_core::{Clock, SystemClock};
use tokio::{net::TcpStream, sync::watch, task::JoinSet};

use super::{
    Direction,
    faults::Faults,
    listener::Listener,
    pump::{self, Ended},
};

/// The number of open connections.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenConnections(Arc<AtomicUsize>);

impl OpenConnections {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn one_more(&self) -> OpenConnection {
        self.0.fetch_add(1, Ordering::SeqCst);
        OpenConnection(self.clone())
    }
}

/// Counts one connection while it exists.
struct OpenConnection(OpenConnections);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Serves connections for ever. Dropping it ends them.
pub(super) async fn accept_all(
    listener: Listener,
    upstream: watch::Receiver<SocketAddr>,
    faults: watch::Receiver<Faults>,
    open: OpenConnections,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(|| faults.borrow().resets) => match accepted {
                Ok((client, resets)) => {
                    let upstream = *upstream.borrow();
                    connections.spawn(serve(client, upstream, faults.clone(), resets, open.one_more()));
                }
                // There is no free descriptor, or the client left at once. The former passes when a connection ends.
                Err(_) => SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(10)).await,
            }
        }
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: SocketAddr,
    faults: watch::Receiver<Faults>,
    resets: u64,
    _open: OpenConnection,
) {
    let mut server = None;
    let mut for_resets = faults.clone();
    let ended = tokio::select! {
        biased;
        _ = for_resets.wait_for(|faults| faults.resets != resets) => Ended::ByReset,
        ended = pass_until_the_end(&mut client, &mut server, upstream, faults) => ended.unwrap_or(Ended::ByReset),
    };
    if ended == Ended::ByReset {
        reset(&client);
        server.as_ref().map(reset);
    }
}

async fn pass_until_the_end(
    client: &mut TcpStream,
    server: &mut Option<TcpStream>,
    upstream: SocketAddr,
    faults: watch::Receiver<Faults>,
) -> io::Result<Ended> {
    let server = server.insert(TcpStream::connect(upstream).await?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = pump::run(from_client, to_server, Direction::Requests, faults.clone());
    let answers = pump::run(from_server, to_client, Direction::Answers, faults);
    tokio::pin!(requests, answers);
    // One side may have ended while the other still sends.
    Ok(tokio::select! {
        ended = &mut requests => match ended { Ended::OfStream => answers.await, other => other },
        ended = &mut answers => match ended { Ended::OfStream => requests.await, other => other },
    })
}

/// Sends the reset when the connection is closed.
pub(super) fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
