//! A primary, a replica and a sentinel of this machine.

use std::{net::SocketAddr, time::Duration};

use lease_core::{Clock, SystemClock};

use super::{Redis, Reply, blocking, cluster::accepted, local, raw};
use crate::{Direction, Proxy, ServerError, local_server::LocalServer};

/// The name of the primary among the sentinels.
const NAME: &str = "main";

/// A primary, a replica, and a sentinel that promotes the replica. The sentinel, the replica, and whoever asks the sentinel
/// reach the primary by way of a network that can be cut.
#[derive(Debug)]
pub struct RedisSentinel {
    primary: Redis,
    replica: Redis,
    sentinel: LocalServer,
    network: Proxy,
}

impl RedisSentinel {
    /// Starts them, and returns when the replica has all that the primary has, and the sentinel knows both.
    ///
    /// # Errors
    ///
    /// When there is no binary, or they do not find each other.
    pub async fn start() -> Result<Self, ServerError> {
        let primary = Redis::start_local(&[("repl-diskless-sync-delay", "0")]).await?;
        let network = Proxy::start(primary.address()?).await.map_err(|error| ServerError::failed("proxy", error))?;
        let port = network.address().port();
        let replica =
            Redis::start_local(&[("replicaof", &format!("127.0.0.1 {port}")), ("repl-diskless-sync-delay", "0")])
                .await?;
        let settings = format!(
            "sentinel monitor {NAME} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {NAME} 600\n\
             sentinel failover-timeout {NAME} 4000\n"
        );
        let sentinel = blocking(move || local::start_sentinel(&settings)).await?;
        let all = Self { primary, replica, sentinel, network };
        all.eventually("the replica follows", async || {
            let info = all.replica.command(&["INFO", "replication"]).await;
            info.is_ok_and(|info| info.text().contains("master_link_status:up"))
        })
        .await?;
        all.eventually("the sentinel knows the replica", async || {
            matches!(all.ask(&["SENTINEL", "REPLICAS", NAME]).await, Ok(Reply::Many(replicas)) if replicas.len() == 1)
        })
        .await?;
        Ok(all)
    }

    /// The URL by which the sentinel tells who the primary is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName={NAME}", self.sentinel.port())
    }

    /// The first primary. Its own URL does not go through the network that can be cut: it is for clients on its side.
    #[must_use]
    pub fn primary(&self) -> &Redis {
        &self.primary
    }

    /// The replica, which may become the primary.
    #[must_use]
    pub fn replica(&self) -> &Redis {
        &self.replica
    }

    /// Cuts the first primary off from the replica, the sentinel and everybody who asks it, and returns when the replica was
    /// promoted.
    ///
    /// # Errors
    ///
    /// When it is not promoted.
    pub async fn cut_primary(&self) -> Result<(), ServerError> {
        self.network.black_hole(Direction::Both);
        self.promoted().await
    }

    /// Has the sentinel promote the replica while all is well, and returns when it has.
    ///
    /// # Errors
    ///
    /// When it refuses, or the replica is not promoted.
    pub async fn fail_over(&self) -> Result<(), ServerError> {
        // For some seconds after its start it knows too little of the replica.
        self.eventually("the sentinel begins", async || {
            self.ask(&["SENTINEL", "FAILOVER", NAME]).await.is_ok_and(|reply| accepted(reply).is_ok())
        })
        .await?;
        self.promoted().await
    }

    /// Cuts only the way of the data: nothing that is written on the primary reaches the replica any more.
    pub fn hold_back_data(&self) {
        self.network.black_hole(Direction::Answers);
    }

    /// Ends what was done to the network. A first primary that was cut off learns that it is none any more.
    pub fn heal(&self) {
        self.network.heal();
    }

    async fn promoted(&self) -> Result<(), ServerError> {
        let port = self.replica.address()?.port().to_string();
        self.eventually("the replica is promoted", async || {
            let told = self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).await;
            let is_told =
                matches!(&told, Ok(Reply::Many(address)) if address.get(1).is_some_and(|told| told.text() == port));
            let info = self.replica.command(&["INFO", "replication"]).await;
            is_told && info.is_ok_and(|info| info.text().contains("role:master"))
        })
        .await
    }

    async fn ask(&self, words: &[&str]) -> Result<Reply, ServerError> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.sentinel.port()));
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        blocking(move || {
            raw::command(address, &words).map_err(|error| ServerError::failed("no answer of the sentinel", error))
        })
        .await
    }

    async fn eventually(&self, what: &str, condition: impl AsyncFn() -> bool) -> Result<(), ServerError> {
        eventually(what, Duration::from_secs(30), condition).await
    }
}

/// Waits until the condition holds; an error that names it after `limit`.
async fn eventually(what: &str, limit: Duration, condition: impl AsyncFn() -> bool) -> Result<(), ServerError> {
    let clock = SystemClock;
    let deadline = clock.now() + limit;
    while !condition().await {
        if clock.now() >= deadline {
            return Err(ServerError::Failed(format!("waited {limit:?} in vain: {what}")));
        }
        clock.sleep_until(clock.now() + Duration::from_millis(20)).await;
    }
    Ok(())
}
