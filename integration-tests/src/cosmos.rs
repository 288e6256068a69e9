//! Cosmos DB.

mod local;

use std::net::SocketAddr;

use tokio::sync::OnceCell;

use crate::{
    Framing, ServerError,
    local_server::{LocalServer, Program},
    server::{Kind, Server},
    settings,
};

/// An emulator of Cosmos DB, with its data on disk. It has no settings, and takes any key.
pub type Cosmos = Server<CosmosKind>;

/// Cosmos DB as a kind of server.
#[derive(Debug)]
pub struct CosmosKind;

impl Kind for CosmosKind {
    const NAME: &'static str = "Cosmos DB";
    const VARIABLE: &'static str = "LEASE_TEST_COSMOS_URL";
    const EXAMPLE: &'static str = "http://host:8081";
    const INSTALL: &'static str = "./integration-tests/run --with cosmos --install";
    const PORT: u16 = 8081;
    const ASKS_THE_C_LIBRARY: bool = false;
    const FRAMING: Option<Framing> = None;

    fn shared() -> &'static OnceCell<Cosmos> {
        static SHARED: OnceCell<Cosmos> = OnceCell::const_new();
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

    fn url(port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    fn serves(address: SocketAddr) -> bool {
        local::is_there(address)
    }
}
