//! The connections of a proxy.

use std::{io, net::SocketAddr, time::Duration};

use lease_core::{Clock, SystemClock};
use tokio::{net::TcpStream, sync::watch, task::JoinSet};

use super::{
    Direction,
    faults::Faults,
    listener::Listener,
    pump::{self, Ended},
};

/// Serves connections for ever. Dropping it ends them.
pub(super) async fn accept_all(listener: Listener, upstream: SocketAddr, faults: watch::Sender<Faults>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(client) => {
                    connections.spawn(serve(client, upstream, faults.subscribe()));
                }
                // No more descriptors, or a client that left at once. The former passes when a connection ends.
                Err(_) => SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(10)).await,
            }
        }
    }
}

async fn serve(client: TcpStream, upstream: SocketAddr, faults: watch::Receiver<Faults>) {
    match TcpStream::connect(upstream).await {
        Ok(server) => {
            let _ = pass_until_the_end(client, server, faults).await;
        }
        Err(_) => reset(&client),
    }
}

async fn pass_until_the_end(
    mut client: TcpStream,
    mut server: TcpStream,
    mut faults: watch::Receiver<Faults>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let resets = faults.borrow_and_update().resets;
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let requests = pump::run(from_client, to_server, Direction::Requests, faults.clone());
        let answers = pump::run(from_server, to_client, Direction::Answers, faults.clone());
        let both = async {
            tokio::pin!(requests, answers);
            // One side may be at its end while the other still has something to say.
            tokio::select! {
                ended = &mut requests => match ended { Ended::OfStream => answers.await, other => other },
                ended = &mut answers => match ended { Ended::OfStream => requests.await, other => other },
            }
        };
        tokio::select! {
            biased;
            _ = faults.wait_for(|faults| faults.resets != resets) => Ended::ByReset,
            ended = both => ended,
        }
    };
    if ended == Ended::ByReset {
        reset(&client);
        reset(&server);
    }
    Ok(())
}

/// Makes the closing that follows a reset.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
