//! The network between the members of a cluster.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A proxy in front of the peer port of one member. Members say in each request who they are, so that one of them can be cut
/// off in both directions.
#[derive(Debug)]
pub(super) struct PeerProxy {
    address: SocketAddr,
    acceptor: JoinHandle<()>,
}

/// Who is cut off: a member's id as it is in requests, and its peer port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CutOff(pub(super) Option<(String, u16)>);

impl CutOff {
    fn hits(&self, from: &str, to: u16) -> bool {
        self.0.as_ref().is_some_and(|(id, port)| id == from || *port == to)
    }
}

impl PeerProxy {
    /// Starts one in front of this port; what is cut off may change at any time.
    pub(super) async fn start(peer_port: u16, cut_off: &Arc<watch::Sender<CutOff>>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let cut_off = Arc::clone(cut_off);
        let acceptor = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // It ends with its connection; failures are what a network has.
                tokio::spawn(relay(client, peer_port, cut_off.subscribe()));
            }
        });
        Ok(Self { address, acceptor })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PeerProxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// Passes a connection on, until one end closes it or one of its members is cut off.
async fn relay(mut client: TcpStream, port: u16, mut cut_off: watch::Receiver<CutOff>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < 64 * 1024 {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let from = sender(&String::from_utf8_lossy(&head));
    let is_cut_off = |cut_off: &CutOff| cut_off.hits(&from, port);
    if is_cut_off(&cut_off.borrow_and_update()) {
        return Ok(());
    }
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    server.write_all(&head).await?;
    tokio::select! {
        end = copy_bidirectional(&mut client, &mut server) => end.map(drop),
        _ = cut_off.wait_for(is_cut_off) => Ok(()),
    }
}

/// The id of the member that sends a request.
fn sender(head: &str) -> String {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let found = headers.find(|(name, _)| name.eq_ignore_ascii_case("x-server-from"));
    found.map(|(_, id)| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_who_sends_it() {
        assert_eq!(
            sender("GET /raft/stream HTTP/1.1\r\nHost: a\r\nX-Server-From: 8e9e05c52164694d\r\n\r\n"),
            "8e9e05c52164694d"
        );
        assert_eq!(sender("GET /version HTTP/1.1\r\nHost: a\r\n\r\n"), "");
        let cut_off = CutOff(Some(("a1".into(), 7)));
        assert!(cut_off.hits("a1", 8) && cut_off.hits("b2", 7) && !cut_off.hits("b2", 8) && !cut_off.hits("", 8));
    }
}
