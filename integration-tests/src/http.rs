//! HTTP/1.1 of one request on a connection: for asking a server whether it serves.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use url::Url;

use crate::{ServerError, server::blocking};

/// Long enough for a busy machine; whoever asks, asks again.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns the body of the answer to a GET, whatever its status.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<String> {
    Some(body(&answer(connect(address)?, address, "GET", path, &[], "")?).to_owned())
}

/// Returns the body of the answer to a POST, whatever its status.
pub(crate) fn post(address: SocketAddr, path: &str, content: &str) -> Option<String> {
    Some(body(&answer(connect(address)?, address, "POST", path, &[], content)?).to_owned())
}

/// Connects, with limits.
pub(crate) fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// Returns head and body of the answer on a connection, which ends with it.
pub(crate) fn answer(
    mut stream: impl Read + Write,
    host: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    content: &str,
) -> Option<String> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = content.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{content}"
    );
    // In one piece: from its first bytes etcd tells HTTP from gRPC.
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // A server may end a connection less politely than TLS wants it to.
    let outcome = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (outcome.is_ok() || answer.contains("\r\n\r\n")).then_some(answer)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Returns the whole answer to one request at a plain HTTP URL, head and body, whatever its status: for the tests of the harness.
///
/// # Errors
///
/// When there is no answer within two seconds.
pub async fn http_request(
    url: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    content: &str,
) -> Result<String, ServerError> {
    let failed = ServerError::Failed(format!("no answer to {method} {path}"));
    let addresses = Url::parse(url).ok().and_then(|url| url.socket_addrs(|| None).ok());
    let Some(address) = addresses.and_then(|addresses| addresses.first().copied()) else { return Err(failed) };
    let (method, path, content) = (method.to_owned(), path.to_owned(), content.to_owned());
    let headers: Vec<_> = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    blocking(move || {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = connect(address).and_then(|it| answer(it, address, &method, &path, &headers, &content));
        answer.filter(|answer| !answer.is_empty()).ok_or(failed)
    })
    .await
}
