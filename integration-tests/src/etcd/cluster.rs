//! A cluster of three.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::watch;

use super::{
    Etcd, EtcdKind,
    local::{Membership, TAKEN, start_member},
    peers::{CutOff, PeerProxy},
};
use crate::{
    ServerError,
    cluster::{Cluster, all_at_once, on_free_ports},
    http,
    ports::free_port,
    server::{Server, blocking},
};

/// A member that comes back from an isolation does not depose the leader. The default from etcd 3.5 on.
const PRE_VOTE: &str = "--pre-vote=true";

/// Three members of this machine, which can be harmed one by one. It ends with this value, or with the test process.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Member>,
    cut_off: Arc<watch::Sender<CutOff>>,
    _network: Vec<PeerProxy>,
}

#[derive(Debug)]
struct Member {
    server: Etcd,
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
        on_free_ports(TAKEN, Self::start_once).await
    }

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
        let starts = memberships.into_iter().map(|membership| {
            let membership = Membership { cluster: all.join(","), ..membership };
            move || {
                let server = Server::local(start_member(&membership, &[], &[PRE_VOTE.to_owned()])?)?;
                Ok(Member { server, peer_port: membership.peer_port })
            }
        });
        let members = all_at_once(starts).await?;
        Ok(Self { members, cut_off, _network: network })
    }

    /// The client URLs of all members.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| member.server.url().to_owned()).collect()
    }

    /// Where the members listen for clients.
    ///
    /// # Errors
    ///
    /// See [`Server::address`].
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, ServerError> {
        self.members.iter().map(|member| member.server.address()).collect()
    }

    /// Cuts a member off from the others; clients still reach it. One at a time.
    ///
    /// # Errors
    ///
    /// When it does not say who it is.
    pub async fn cut_off(&self, member: usize) -> Result<(), ServerError> {
        let Member { server, peer_port } = &self.members[member];
        let (address, port) = (server.address()?, *peer_port);
        let id = blocking(move || {
            let metrics = http::get(address, "/metrics").unwrap_or_default();
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

impl Cluster for EtcdCluster {
    type Kind = EtcdKind;

    fn member(&self, member: usize) -> &Etcd {
        &self.members[member].server
    }

    async fn leader(&self) -> Result<usize, ServerError> {
        let addresses = self.addresses()?;
        blocking(move || {
            let leads = |address: &SocketAddr| {
                let metrics = http::get(*address, "/metrics").unwrap_or_default();
                metrics.lines().any(|line| line.trim() == "etcd_server_is_leader 1")
            };
            addresses.iter().position(leads).ok_or_else(|| ServerError::Failed("nobody leads".into()))
        })
        .await
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
