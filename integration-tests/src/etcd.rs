//! etcd.

mod cluster;
mod health;
mod local;
mod peers;

use std::net::SocketAddr;

use tokio::sync::OnceCell;

pub use self::cluster::EtcdCluster;
use crate::{
    Framing, ServerError,
    container::Image,
    local_server::{LocalServer, Program},
    server::{Kind, Server, blocking},
    settings,
};

/// A real etcd server. Settings are such as `("max-txn-ops", "64")`.
pub type Etcd = Server<EtcdKind>;

/// etcd as a kind of server.
#[derive(Debug)]
pub struct EtcdKind;

impl Kind for EtcdKind {
    const NAME: &'static str = "etcd";
    const VARIABLE: &'static str = "LEASE_TEST_ETCD_URL";
    const EXAMPLE: &'static str = "http://host:2379";
    const INSTALL: &'static str = "Debian, Ubuntu: apt-get install etcd-server; ./integration-tests/run does that";
    const PORT: u16 = 2379;
    const ASKS_THE_C_LIBRARY: bool = false;
    /// HTTP/2 numbers its calls.
    const FRAMING: Option<Framing> = None;

    fn shared() -> &'static OnceCell<Etcd> {
        static SHARED: OnceCell<Etcd> = OnceCell::const_new();
        &SHARED
    }

    fn arguments(settings: &[(&str, &str)]) -> Vec<String> {
        settings::joined(settings)
    }

    fn start(under: &[String], arguments: &[String]) -> Result<LocalServer, ServerError> {
        local::start(under, arguments)
    }

    fn program(command: Vec<String>, port: u16) -> Program {
        local::program(command, port)
    }

    fn image(arguments: Vec<String>) -> Option<Image> {
        let urls = Self::arguments(&[
            ("listen-client-urls", "http://0.0.0.0:2379"),
            ("advertise-client-urls", "http://127.0.0.1:2379"),
        ]);
        let command = [vec!["etcd".to_owned()], urls, arguments].concat();
        Some(Image { name: "rancher/mirrored-coreos-etcd", tag: "v3.5.9", environment: &[], command })
    }

    fn url(port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    fn serves(address: SocketAddr) -> bool {
        health::is_healthy(address)
    }
}

impl Etcd {
    /// How many etcd leases it keeps, on a server without a password: those that grants are attached to.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn count_leases(&self) -> Result<usize, ServerError> {
        let address = self.address()?;
        blocking(move || {
            health::count_leases(address).ok_or_else(|| ServerError::Failed("etcd does not say its leases".into()))
        })
        .await
    }
}
