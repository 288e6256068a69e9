//! A cluster of three.

use std::net::SocketAddr;

use super::{
    Consul, ConsulKind,
    local::{TAKEN, leader, settings_as_arguments, start_server},
};
use crate::{
    ServerError,
    cluster::{Cluster, all_at_once, on_free_ports},
    ports::free_port,
    server::{Server, blocking},
};

/// Three servers of this machine, which can be harmed one by one. It ends with this value, or with the test process.
#[derive(Debug)]
pub struct ConsulCluster {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    server: Consul,
    raft: u16,
}

impl ConsulCluster {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the servers do not find each other.
    pub async fn start() -> Result<Self, ServerError> {
        on_free_ports(TAKEN, Self::start_once).await
    }

    async fn start_once() -> Result<Self, ServerError> {
        let gossip = [free_port()?, free_port()?, free_port()?];
        let mut starts = Vec::new();
        for (number, own) in gossip.into_iter().enumerate() {
            let mut arguments = vec![format!("-node=server-{number}"), "-bootstrap-expect=3".to_owned()];
            arguments.extend(gossip.iter().map(|other| format!("-retry-join=127.0.0.1:{other}")));
            arguments.extend(settings_as_arguments(&[
                ("retry_interval", "\"200ms\""),
                // A killed server comes back.
                ("autopilot", "{ cleanup_dead_servers = false }"),
            ]));
            let (port, raft) = (free_port()?, free_port()?);
            starts.push(move || {
                let server = Server::local(start_server(port, raft, own, &[], &arguments)?)?;
                Ok(Member { server, raft })
            });
        }
        Ok(Self { members: all_at_once(starts).await? })
    }
}

impl Cluster for ConsulCluster {
    type Kind = ConsulKind;

    fn member(&self, member: usize) -> &Consul {
        &self.members[member].server
    }

    async fn leader(&self) -> Result<usize, ServerError> {
        let addresses: Vec<SocketAddr> =
            self.members.iter().map(|member| member.server.address()).collect::<Result<_, _>>()?;
        let leader = blocking(move || {
            let leader = addresses.into_iter().find_map(leader);
            leader.ok_or_else(|| ServerError::Failed("nobody leads".into()))
        });
        let port = leader.await?.port();
        let position = self.members.iter().position(|member| member.raft == port);
        position.ok_or_else(|| ServerError::Failed(format!("no server has the port {port} of the leader")))
    }
}
