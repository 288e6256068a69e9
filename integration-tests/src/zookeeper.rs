//! ZooKeeper.

mod cluster;
mod local;

use std::net::SocketAddr;

use tokio::sync::OnceCell;

pub use self::cluster::ZooKeeperCluster;
use crate::{
    Framing, ServerError,
    container::Image,
    local_server::{LocalServer, Program},
    server::{Kind, Server, blocking},
};

/// A real ZooKeeper server, alone. Settings are such as `("maxSessionTimeout", "4000")`: lines of its own file.
pub type ZooKeeper = Server<ZooKeeperKind>;

/// ZooKeeper as a kind of server.
#[derive(Debug)]
pub struct ZooKeeperKind;

impl Kind for ZooKeeperKind {
    const NAME: &'static str = "ZooKeeper";
    const VARIABLE: &'static str = "LEASE_TEST_ZOOKEEPER_URL";
    const EXAMPLE: &'static str = "zookeeper://host:2181";
    const INSTALL: &'static str = "./integration-tests/run --with zookeeper --install";
    const PORT: u16 = 2181;
    const ASKS_THE_C_LIBRARY: bool = true;
    /// Its answers have the numbers of their requests.
    const FRAMING: Option<Framing> = None;

    fn shared() -> &'static OnceCell<ZooKeeper> {
        static SHARED: OnceCell<ZooKeeper> = OnceCell::const_new();
        &SHARED
    }

    fn arguments(settings: &[(&str, &str)]) -> Vec<String> {
        local::settings_as_arguments(settings)
    }

    fn start(under: &[String], arguments: &[String]) -> Result<LocalServer, ServerError> {
        local::start(under, arguments)
    }

    fn program(command: Vec<String>, port: u16) -> Program {
        local::program(command, port)
    }

    fn image(_arguments: Vec<String>) -> Option<Image> {
        let environment = &[("ZOO_CFG_EXTRA", "4lw.commands.whitelist=* tickTime=100")];
        Some(Image { name: "zookeeper", tag: "3.8", environment, command: Vec::new() })
    }

    fn url(port: u16) -> String {
        format!("zookeeper://127.0.0.1:{port}")
    }

    fn serves(address: SocketAddr) -> bool {
        local::mode(address).is_some()
    }
}

impl ZooKeeper {
    /// Its user of SASL, and the password. It asks for them where it has [`SASL_ONLY`](Self::SASL_ONLY).
    pub const SASL_USER: (&'static str, &'static str) = local::USER;

    /// The settings with which only sessions with SASL may do anything.
    pub const SASL_ONLY: &'static [(&'static str, &'static str)] = &[
        ("authProvider.sasl", "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"),
        ("enforce.auth.enabled", "true"),
        ("enforce.auth.schemes", "sasl"),
    ];

    /// What it answers to a command of four letters; nothing when it does not answer.
    ///
    /// # Errors
    ///
    /// When it has no address.
    pub async fn four_letters(&self, word: &'static str) -> Result<Option<String>, ServerError> {
        let address = self.address()?;
        blocking(move || Ok(local::four_letters(address, word))).await
    }
}
