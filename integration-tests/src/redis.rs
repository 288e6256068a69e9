//! Redis, or Valkey.

mod cluster;
mod framing;
mod local;
mod raw;
mod sentinel;

use std::net::SocketAddr;

use tokio::sync::OnceCell;

pub use self::{cluster::RedisCluster, raw::Reply, sentinel::RedisSentinel};
use crate::{
    Framing, ServerError,
    container::Image,
    local_server::{LocalServer, Program},
    server::{Kind, Server, blocking},
    settings,
};

/// A real Redis server. Settings are such as `("appendonly", "yes")`; without any, it keeps nothing on disk.
pub type Redis = Server<RedisKind>;

/// Redis as a kind of server.
#[derive(Debug)]
pub struct RedisKind;

impl Kind for RedisKind {
    const NAME: &'static str = "Redis";
    const VARIABLE: &'static str = "LEASE_TEST_REDIS_URL";
    const EXAMPLE: &'static str = "redis://:password@host";
    const INSTALL: &'static str = "Debian, Ubuntu: apt-get install redis-server; ./integration-tests/run does that";
    const PORT: u16 = 6379;
    const ASKS_THE_C_LIBRARY: bool = true;
    const FRAMING: Option<Framing> = Some(framing::frame);

    fn shared() -> &'static OnceCell<Redis> {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        &SHARED
    }

    fn arguments(settings: &[(&str, &str)]) -> Vec<String> {
        settings::apart(settings)
    }

    fn start(under: &[String], arguments: &[String]) -> Result<LocalServer, ServerError> {
        local::start(under, arguments)
    }

    fn program(command: Vec<String>, port: u16) -> Program {
        local::program(command, port)
    }

    fn image(arguments: Vec<String>) -> Option<Image> {
        let command = ["redis-server", "--save", "", "--appendonly", "no"].map(str::to_owned).to_vec();
        Some(Image { name: "redis", tag: "8", environment: &[], command: [command, arguments].concat() })
    }

    fn url(port: u16) -> String {
        format!("redis://127.0.0.1:{port}")
    }

    fn serves(address: SocketAddr) -> bool {
        raw::serves(address)
    }
}

impl Redis {
    /// Runs a command on a connection of its own, on a server without a password.
    ///
    /// # Errors
    ///
    /// When there is no answer. What the server itself refuses is a [`Reply::Error`].
    pub async fn command(&self, words: &[&str]) -> Result<Reply, ServerError> {
        let (address, words) = (self.address()?, words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        blocking(move || {
            raw::command(address, &words).map_err(|error| ServerError::failed("no answer of the server", error))
        })
        .await
    }

    /// Keeps a copy of each key with this prefix, which has no braces.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is an error.
    pub async fn back_up(&self, prefix: &str) -> Result<(), ServerError> {
        // In a Cluster, what is in braces decides where a key is: each copy is with its original.
        let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
            redis.call('RESTORE', 'backup/{' .. key .. '}', 0, redis.call('DUMP', key), 'REPLACE')
        end";
        cluster::accepted(self.command(&["EVAL", script, "0", prefix]).await?)
    }

    /// Makes what [`Self::back_up`] has copied all that there is with this prefix.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is an error.
    pub async fn put_back(&self, prefix: &str) -> Result<(), ServerError> {
        let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do redis.call('DEL', key) end
        for _, key in ipairs(redis.call('KEYS', 'backup/{' .. ARGV[1] .. '*')) do
            redis.call('RESTORE', key:sub(9, -2), 0, redis.call('DUMP', key))
        end";
        cluster::accepted(self.command(&["EVAL", script, "0", prefix]).await?)
    }
}
