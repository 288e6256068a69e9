//! Asking a server whether it serves.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Long enough for a busy machine; whoever asks, asks again.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the server at this address has a leader and answers reads.
pub(super) fn is_healthy(address: SocketAddr) -> bool {
    get(address, "/health").is_some_and(|answer| answer.contains(r#""health":"true""#))
}

/// The body of what it answers over plain HTTP.
pub(super) fn get(address: SocketAddr, path: &str) -> Option<String> {
    answer(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

/// How many etcd leases there are.
pub(super) fn count_leases(address: SocketAddr) -> Option<usize> {
    let head = format!("POST /v3/lease/leases HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let leases = answer(address, &format!("{head}Content-Length: 2\r\n\r\n{{}}"))?;
    leases.contains("\"header\"").then(|| leases.matches("\"ID\"").count())
}

fn answer(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    // In one piece: from its first bytes etcd tells HTTP from gRPC.
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}
