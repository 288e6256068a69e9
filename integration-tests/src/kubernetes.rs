//! The API server of Kubernetes.

mod credentials;
mod local;

use std::{net::SocketAddr, path::PathBuf};

use tokio::sync::OnceCell;

pub use self::credentials::KubernetesUser;
use crate::{
    Framing, ServerError,
    local_server::{LocalServer, Program},
    server::{Kind, Server, blocking},
    settings,
};

/// A real kube-apiserver with an etcd of its own, and nothing else: no controller, no node. What may be done is decided by RBAC.
/// Settings are such as `("min-request-timeout", "5")`.
///
/// Whatever is done to it is done to both processes.
pub type KubeApiserver = Server<KubernetesKind>;

/// The API server of Kubernetes as a kind of server.
#[derive(Debug)]
pub struct KubernetesKind;

impl Kind for KubernetesKind {
    const NAME: &'static str = "kube-apiserver";
    const VARIABLE: &'static str = "LEASE_TEST_KUBERNETES_URL";
    const EXAMPLE: &'static str =
        "https://:TOKEN@host:6443 and LEASE_TEST_KUBERNETES_AUTHORITY to the file of its certificate authority";
    const INSTALL: &'static str = "./integration-tests/run --with kubernetes --install";
    const PORT: u16 = 443;
    const ASKS_THE_C_LIBRARY: bool = false;
    /// Five seconds of both processors, and more than its patience if twelve of them start together.
    const STARTS_ALONE: bool = true;
    /// HTTP/2 numbers its calls.
    const FRAMING: Option<Framing> = None;

    fn shared() -> &'static OnceCell<KubeApiserver> {
        static SHARED: OnceCell<KubeApiserver> = OnceCell::const_new();
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

    fn url(port: u16) -> String {
        format!("https://127.0.0.1:{port}")
    }

    fn serves(address: SocketAddr) -> bool {
        local::is_healthy(address)
    }
}

impl KubeApiserver {
    /// The token of the user who may do everything, on a server of this machine.
    pub const ADMIN_TOKEN: &'static str = credentials::ADMIN_TOKEN;

    /// The token of the user who may do everything.
    #[must_use]
    pub fn token(&self) -> &str {
        self.url.password().unwrap_or(credentials::ADMIN_TOKEN)
    }

    /// The file of the certificate of the authority that has signed the server's, as PEM.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn authority() -> Result<PathBuf, ServerError> {
        blocking(credentials::authority).await
    }

    /// Runs kubectl with the rights of the holder of this token, and returns what it prints.
    ///
    /// # Errors
    ///
    /// When it is not installed, or fails: with what it says.
    pub async fn kubectl(&self, token: &str, arguments: &[&str]) -> Result<String, ServerError> {
        let mut words = vec![format!("--server={}", self.url_at(self.address()?)), format!("--token={token}")];
        words.extend(arguments.iter().map(|&word| word.to_owned()));
        blocking(move || local::kubectl(&words)).await
    }
}
