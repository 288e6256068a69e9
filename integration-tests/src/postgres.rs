//! PostgreSQL.

mod framing;
mod handshake;
mod local;
mod pair;

use std::net::SocketAddr;

use tokio::sync::OnceCell;

pub use self::pair::PostgresPair;
use crate::{
    Framing, ServerError,
    container::Image,
    local_server::{LocalServer, Program},
    server::{Kind, Server},
};

/// A real PostgreSQL server. Settings are such as `("fsync", "on")`: by default the harness turns `fsync` off, since a killed
/// process loses nothing by it, only a machine that crashes does.
pub type Postgres = Server<PostgresKind>;

/// PostgreSQL as a kind of server.
#[derive(Debug)]
pub struct PostgresKind;

impl Kind for PostgresKind {
    const NAME: &'static str = "PostgreSQL";
    const VARIABLE: &'static str = "LEASE_TEST_POSTGRES_URL";
    const EXAMPLE: &'static str = "postgres://user:password@host/database";
    const INSTALL: &'static str = "Debian, Ubuntu: apt-get install postgresql; ./integration-tests/run does that";
    const PORT: u16 = 5432;
    const ASKS_THE_C_LIBRARY: bool = true;
    const FRAMING: Option<Framing> = Some(framing::frame);

    fn shared() -> &'static OnceCell<Postgres> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
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
        let command = [vec!["postgres".to_owned()], arguments].concat();
        Some(Image { name: "postgres", tag: "17", environment: &[("POSTGRES_HOST_AUTH_METHOD", "trust")], command })
    }

    fn url(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    fn serves(address: SocketAddr) -> bool {
        handshake::accepts_sessions(address)
    }
}

impl Postgres {
    /// A URL of another database of this server. It does not create it.
    #[must_use]
    pub fn url_for(&self, database: &str) -> String {
        let mut url = self.url.clone();
        url.set_path(database);
        url.into()
    }
}
