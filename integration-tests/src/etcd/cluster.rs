//! A cluster of three.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::watch;

use super::{
    health::get,
    local::{Membership, TAKEN, start_member},
    peers::{CutOff, PeerProxy},
};
use crate::{ServerError, local_server::LocalServer, ports::free_port, server::blocking};

/// Three members of this machine, of which some can be harmed. It ends with this value, or with the test process.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Member>,
    cut_off: Arc<watch::Sender<CutOff>>,
    _network: Vec<PeerProxy>,
}

#[derive(Debug)]
struct Member {
    server: Arc<LocalServer>,
    peer_port: u16,
}

impl EtcdCluster {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When there is no binary, with a message that says what to install.
    pub async fn start() -> Self {
        Self::try_start().await.unwrap_or_else(|error| {
            panic!(
                "No etcd cluster for this test: install a server (Debian, Ubuntu: apt-get install etcd-server). {error}"
            )
        })
    }

    /// Like [`start`](Self::start), without the panic.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the members do not find each other.
    pub async fn try_start() -> Result<Self, ServerError> {
        for _ in 0..4 {
            match Self::start_once().await {
                Err(error) if error.to_string().contains(TAKEN) => {}
                outcome => return outcome,
            }
        }
        Self::start_once().await
    }

    /// On ports that another process may take before the members do.
    async fn start_once() -> Result<Self, ServerError> {
        let cut_off = Arc::new(watch::Sender::new(CutOff::default()));
        let (mut network, mut memberships) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            let (name, peer_port) = (format!("member-{number}"), free_port()?);
            let proxy = PeerProxy::start(peer_port, &cut_off).await;
            let proxy = proxy.map_err(|error| ServerError::failed("no network for the members", error))?;
            let peer_url = format!("http://{}", proxy.address());
            memberships.push(Membership { name, peer_port, peer_url, cluster: String::new() });
            network.push(proxy);
        }
        let all: Vec<_> = memberships.iter().map(|each| format!("{}={}", each.name, each.peer_url)).collect();
        let starting = memberships.into_iter().map(|membership| {
            let membership = Membership { cluster: all.join(","), ..membership };
            tokio::spawn(blocking(move || {
                let server = Arc::new(start_member(&membership, &[], &[])?);
                Ok(Member { server, peer_port: membership.peer_port })
            }))
        });
        // None is ready before most of them are there.
        let mut members = Vec::new();
        for member in starting.collect::<Vec<_>>() {
            members.push(member.await.map_err(|error| ServerError::failed("harness", error))??);
        }
        Ok(Self { members, cut_off, _network: network })
    }

    /// The client URLs of all members.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        (0..self.members.len()).map(|member| format!("http://{}", self.address(member))).collect()
    }

    /// Where a member listens for clients.
    ///
    /// # Panics
    ///
    /// When there is no such member; they count from 0.
    #[must_use]
    pub fn address(&self, member: usize) -> SocketAddr {
        ([127, 0, 0, 1], self.members[member].server.port()).into()
    }

    /// Who leads at the moment, as one of the members sees it.
    ///
    /// # Errors
    ///
    /// When none of them knows of a leader.
    pub async fn leader(&self) -> Result<usize, ServerError> {
        let addresses: Vec<_> = (0..self.members.len()).map(|member| self.address(member)).collect();
        blocking(move || {
            let leads = |address: &SocketAddr| {
                let metrics = get(*address, "/metrics").unwrap_or_default();
                metrics.lines().any(|line| line.trim() == "etcd_server_is_leader 1")
            };
            addresses.iter().position(leads).ok_or_else(|| ServerError::Failed("nobody leads".into()))
        })
        .await
    }

    /// Stops a member where it is: connections stay open, nothing answers.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub async fn freeze(&self, member: usize) -> Result<(), ServerError> {
        let server = Arc::clone(&self.members[member].server);
        blocking(move || server.freeze()).await
    }

    /// Lets a frozen member go on.
    ///
    /// # Errors
    ///
    /// When its processes cannot be listed.
    pub async fn thaw(&self, member: usize) -> Result<(), ServerError> {
        let server = Arc::clone(&self.members[member].server);
        blocking(move || server.thaw()).await
    }

    /// Kills a member, as a crash does.
    ///
    /// # Errors
    ///
    /// When its processes cannot be listed.
    pub async fn kill(&self, member: usize) -> Result<(), ServerError> {
        let server = Arc::clone(&self.members[member].server);
        blocking(move || server.kill()).await
    }

    /// Starts a killed member again, with its data, and returns when it serves.
    ///
    /// # Errors
    ///
    /// When it is running already, or does not find the others.
    pub async fn start_again(&self, member: usize) -> Result<(), ServerError> {
        let server = Arc::clone(&self.members[member].server);
        blocking(move || server.start_again()).await
    }

    /// Cuts a member off from the others; clients still reach it. One at a time.
    ///
    /// # Errors
    ///
    /// When it does not say who it is.
    pub async fn cut_off(&self, member: usize) -> Result<(), ServerError> {
        let (address, port) = (self.address(member), self.members[member].peer_port);
        let id = blocking(move || {
            let metrics = get(address, "/metrics").unwrap_or_default();
            id_in(&metrics).ok_or_else(|| ServerError::Failed(format!("the member at {address} does not say its id")))
        });
        let id = id.await?;
        self.cut_off.send_replace(CutOff(Some((id, port))));
        Ok(())
    }

    /// Ends [`cut_off`](Self::cut_off).
    pub fn heal(&self) {
        self.cut_off.send_replace(CutOff(None));
    }
}

/// The id of a member in its metrics, in hexadecimal: `etcd_server_id{server_id="8e9e05c52164694d"} 1`.
fn id_in(metrics: &str) -> Option<String> {
    let id = metrics.lines().find_map(|line| line.strip_prefix("etcd_server_id{server_id=\""))?;
    Some(id.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_says_its_id() {
        let metrics = "# TYPE etcd_server_id gauge\netcd_server_id{server_id=\"8e9e05c52164694d\"} 1\n";
        assert_eq!(id_in(metrics).as_deref(), Some("8e9e05c52164694d"));
        assert_eq!(id_in(""), None);
    }
}
