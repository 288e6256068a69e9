//! Azurite.

mod local;

use std::net::SocketAddr;

use tokio::sync::OnceCell;

use crate::{
    Framing, ServerError,
    container::Image,
    local_server::{LocalServer, Program},
    server::{Kind, Server},
    settings,
};

/// Azurite, the emulator of Azure Blob Storage, with its data on disk. Settings are its options.
pub type Azurite = Server<AzuriteKind>;

/// Azurite as a kind of server.
#[derive(Debug)]
pub struct AzuriteKind;

impl Kind for AzuriteKind {
    const NAME: &'static str = "Azurite";
    const VARIABLE: &'static str = "LEASE_TEST_AZURITE_URL";
    const EXAMPLE: &'static str = "http://host:10000";
    const INSTALL: &'static str = "./integration-tests/run --with azurite --install";
    const PORT: u16 = 10000;
    const ASKS_THE_C_LIBRARY: bool = false;
    const FRAMING: Option<Framing> = None;

    fn shared() -> &'static OnceCell<Azurite> {
        static SHARED: OnceCell<Azurite> = OnceCell::const_new();
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

    fn image(_arguments: Vec<String>) -> Option<Image> {
        Some(Image {
            name: "mcr.microsoft.com/azure-storage/azurite",
            tag: "3.35.0",
            environment: &[],
            command: Vec::new(),
        })
    }

    fn url(port: u16) -> String {
        format!("http://127.0.0.1:{port}/devstoreaccount1")
    }

    fn serves(address: SocketAddr) -> bool {
        local::is_there(address)
    }
}

impl Azurite {
    /// The account, which everybody knows.
    pub const ACCOUNT: &'static str = "devstoreaccount1";

    /// Its key, which everybody knows.
    pub const KEY: &'static str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
}
