//! Consul.

mod cluster;
mod local;

use std::net::SocketAddr;

use tokio::sync::OnceCell;

pub use self::cluster::ConsulCluster;
use crate::{
    Framing, ServerError,
    container::Image,
    local_server::{LocalServer, Program},
    server::{Kind, Server},
};

/// A real Consul server, alone. Settings are such as `("datacenter", "\"paris\"")`: lines of its own language.
pub type Consul = Server<ConsulKind>;

/// Consul as a kind of server.
#[derive(Debug)]
pub struct ConsulKind;

impl Kind for ConsulKind {
    const NAME: &'static str = "Consul";
    const VARIABLE: &'static str = "LEASE_TEST_CONSUL_URL";
    const EXAMPLE: &'static str = "http://host:8500";
    const INSTALL: &'static str = "./integration-tests/run --with consul --install";
    const PORT: u16 = 8500;
    const ASKS_THE_C_LIBRARY: bool = false;
    const FRAMING: Option<Framing> = None;

    fn shared() -> &'static OnceCell<Consul> {
        static SHARED: OnceCell<Consul> = OnceCell::const_new();
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

    fn image(arguments: Vec<String>) -> Option<Image> {
        let command = ["agent", "-server", "-bootstrap-expect=1", "-client=0.0.0.0"].map(str::to_owned).to_vec();
        Some(Image { name: "hashicorp/consul", tag: "1.20", environment: &[], command: [command, arguments].concat() })
    }

    fn url(port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    fn serves(address: SocketAddr) -> bool {
        local::has_leader(address)
    }
}
