//! kube-apiserver and its etcd from the binaries of this machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::Arc,
};

use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::credentials;
use crate::{
    ServerError,
    account::Account,
    http,
    installed::{find, in_path},
    keeper::Keeper,
    local_server::{LocalServer, Program},
    ports::{free_port, on_a_free_port},
    processes::Process,
    settings,
};

/// What either of them says when another process has its port.
const TAKEN: &str = "address already in use";

/// In the directory of a server.
const SCRIPT: &str = "server.sh";

/// Starts one, by a command that is put in front of it, if there is one; [`ServerError::NoServer`] when a binary is missing.
pub(super) fn start(under: &[String], settings: &[String]) -> Result<LocalServer, ServerError> {
    let binary = find("LEASE_TEST_KUBE_APISERVER", Some("kube-apiserver"), "kube-apiserver-1.20.2/kube-apiserver")?;
    let etcd = in_path("etcd").ok_or_else(|| ServerError::NoServer("no etcd in PATH, which it needs".into()))?;
    on_a_free_port(TAKEN, |port| {
        let (etcd_url, peer_url) = (loopback_url()?, loopback_url()?);
        let mut command = under.to_vec();
        let keeper = Keeper::new(Account::current(), "TERM")?;
        std::fs::write(keeper.directory().join(SCRIPT), include_str!("server.sh"))
            .map_err(|error| ServerError::failed(SCRIPT, error))?;
        command.extend(["sh", SCRIPT].map(str::to_owned));
        command.extend([etcd.to_string_lossy().into_owned(), etcd_url.clone(), peer_url]);
        command.push(binary.to_string_lossy().into_owned());
        command.extend(settings::joined(&[
            ("etcd-servers", &etcd_url),
            ("bind-address", "127.0.0.1"),
            ("secure-port", &port.to_string()),
            ("authorization-mode", "RBAC"),
            ("anonymous-auth", "false"),
            ("service-account-issuer", "https://kubernetes.default.svc"),
            ("service-cluster-ip-range", "10.0.0.0/24"),
            // It would wait for a controller that makes the accounts.
            ("disable-admission-plugins", "ServiceAccount"),
        ]));
        command.extend(credentials::settings()?);
        command.extend_from_slice(settings);
        LocalServer::start(keeper, program(command, port))
    })
}

pub(super) fn program(command: Vec<String>, port: u16) -> Program {
    Program { command, port, is_ready, stop: Signal::TERM, after_kill: |_| {} }
}

fn loopback_url() -> Result<String, ServerError> {
    Ok(format!("http://127.0.0.1:{}", free_port()?))
}

/// Whether it serves, and has made what it needs itself: roles, namespaces.
pub(super) fn is_healthy(address: SocketAddr) -> bool {
    ready(address).is_some_and(|answer| answer.ends_with("ok"))
}

/// A server that finds its port taken ends, so what answers there is this one, or is soon found to have ended.
fn is_ready(_directory: &Path, port: u16, processes: &[Process]) -> bool {
    !processes.is_empty() && is_healthy((Ipv4Addr::LOCALHOST, port).into())
}

fn ready(address: SocketAddr) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(credentials::authority().ok()?).ok()?).ok()?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    let stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).ok()?, http::connect(address)?);
    let token = format!("Bearer {}", credentials::ADMIN_TOKEN);
    http::answer(stream, address, "GET", "/readyz", &[("Authorization", &token)], "")
}

/// What kubectl prints.
pub(super) fn kubectl(arguments: &[String]) -> Result<String, ServerError> {
    let mut command = Command::new("kubectl");
    command
        .env("KUBECONFIG", "/dev/null")
        .arg(format!("--certificate-authority={}", credentials::authority()?.display()))
        .args(arguments);
    let output = command.output().map_err(|error| {
        ServerError::NoServer(format!("no kubectl (./integration-tests/run --with kubernetes --install): {error}"))
    })?;
    if !output.status.success() {
        return Err(ServerError::Failed(format!("kubectl: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
