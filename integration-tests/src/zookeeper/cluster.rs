//! A cluster of three.

use super::{
    ZooKeeper,
    local::{TAKEN, mode, settings_as_arguments, start_member},
};
use crate::{
    ServerError,
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
        let mut settings = settings_as_arguments(&[
            ("standaloneEnabled", "false"),
            // Members of one machine need not wait for late ones.
            ("zookeeper.fastleader.minNotificationInterval", "50"),
        ]);
        for number in 1..=3 {
            settings.push(format!("server.{number}=127.0.0.1:{}:{}", free_port()?, free_port()?));
        }
        let starting: Vec<_> = (1..=3)
            .map(|number| {
                let settings = settings.clone();
                tokio::spawn(blocking(move || Server::local(start_member(Some(number), free_port()?, &[], &settings)?)))
            })
            .collect();
        // None is ready before most of them are there.
        let mut members = Vec::new();
        for member in starting {
            members.push(member.await.map_err(|error| ServerError::failed("harness", error))??);
        }
        Ok(Self { members })
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

    /// A member, to be harmed.
    ///
    /// # Panics
    ///
    /// When there is no such member; they count from 0.
    #[must_use]
    pub fn member(&self, member: usize) -> &ZooKeeper {
        &self.members[member]
    }

    /// Who leads at the moment.
    ///
    /// # Errors
    ///
    /// When nobody says to do so.
    pub async fn leader(&self) -> Result<usize, ServerError> {
        let addresses = self.members.iter().map(Server::address).collect::<Result<Vec<_>, _>>()?;
        blocking(move || {
            let leads = |&address: &_| mode(address).as_deref() == Some("leader");
            addresses.iter().position(leads).ok_or_else(|| ServerError::Failed("nobody leads".into()))
        })
        .await
    }
}
