//! A cluster of three.

use super::{
    ZooKeeper, ZooKeeperKind,
    local::{TAKEN, mode, settings_as_arguments, start_member},
};
use crate::{
    ServerError,
    cluster::{Cluster, all_at_once, on_free_ports},
    ports::free_port,
    server::{Server, blocking},
};

/// Three members of this machine, which can be harmed one by one. It ends with this value, or with the test process.
#[derive(Debug)]
pub struct ZooKeeperCluster {
    members: Vec<ZooKeeper>,
}

impl ZooKeeperCluster {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// When Java or the jars are missing, or the members do not find each other.
    pub async fn start() -> Result<Self, ServerError> {
        on_free_ports(TAKEN, Self::start_once).await
    }

    async fn start_once() -> Result<Self, ServerError> {
        let mut settings = settings_as_arguments(&[
            ("standaloneEnabled", "false"),
            // Members of one machine need not wait for late ones.
            ("zookeeper.fastleader.minNotificationInterval", "50"),
        ]);
        for number in 1..=3 {
            settings.push(format!("server.{number}=127.0.0.1:{}:{}", free_port()?, free_port()?));
        }
        let starts = (1..=3).map(|number| {
            let settings = settings.clone();
            move || Server::local(start_member(Some(number), free_port()?, &[], &settings)?)
        });
        Ok(Self { members: all_at_once(starts).await? })
    }

    /// The addresses of all members, as clients want them: separated by commas.
    ///
    /// # Errors
    ///
    /// See [`Server::address`].
    pub fn addresses(&self) -> Result<String, ServerError> {
        let addresses = self.members.iter().map(|member| Ok(member.address()?.to_string()));
        Ok(addresses.collect::<Result<Vec<_>, ServerError>>()?.join(","))
    }
}

impl Cluster for ZooKeeperCluster {
    type Kind = ZooKeeperKind;

    fn member(&self, member: usize) -> &ZooKeeper {
        &self.members[member]
    }

    async fn leader(&self) -> Result<usize, ServerError> {
        let addresses = self.members.iter().map(Server::address).collect::<Result<Vec<_>, _>>()?;
        blocking(move || {
            let leads = |&address: &_| mode(address).as_deref() == Some("leader");
            addresses.iter().position(leads).ok_or_else(|| ServerError::Failed("nobody leads".into()))
        })
        .await
    }
}
