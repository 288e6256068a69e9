//! The harness itself: what it says it does to a PostgreSQL server, it does.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use integration_tests::{Postgres, ServerError, required_servers_are_there};
use lease_core::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process_group};

#[tokio::test]
async fn whatever_the_environment_promises_is_there() {
    required_servers_are_there().await.unwrap();
}

#[tokio::test]
async fn a_server_is_ready_when_it_is_there() {
    let postgres = start().await;
    assert!(begins_session(postgres.address().unwrap()).unwrap());
}

#[tokio::test]
async fn the_shared_one_is_one_and_refuses_harm() {
    let postgres = Postgres::shared().await;
    assert_eq!(postgres.url(), Postgres::shared().await.url());
    for refused in [
        postgres.freeze().await,
        postgres.thaw().await,
        postgres.kill().await,
        postgres.start_again().await,
        postgres.restart().await,
    ] {
        assert!(matches!(refused, Err(ServerError::Cannot { .. })), "{refused:?}");
    }
    assert!(begins_session(postgres.address().unwrap()).unwrap());
}

#[tokio::test]
async fn servers_can_be_started_side_by_side() {
    let (first, second, third) = tokio::join!(start(), start(), start());
    assert_ne!(first.url(), second.url());
    assert_ne!(second.url(), third.url());
}

#[tokio::test]
async fn a_setting_reaches_the_server() {
    let error = Postgres::start_local(&[("no_such_setting", "on")]).await.unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn a_frozen_server_answers_nobody_until_it_is_thawed() {
    let postgres = start().await;
    let address = postgres.address().unwrap();
    let mut session = open_session(address).unwrap();
    assert_eq!(ask(&mut session).unwrap(), b'T');

    postgres.freeze().await.unwrap();
    postgres.freeze().await.unwrap();
    // A backend has a process group of its own, and must stand still too.
    let error = ask(&mut session).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    assert!(begins_session(address).is_err());

    postgres.thaw().await.unwrap();
    assert_eq!(read_answer(&mut session).unwrap(), b'T');
    assert!(begins_session(address).unwrap());
}

#[tokio::test]
async fn a_killed_server_refuses_connections_and_starts_again_where_it_was() {
    let postgres = start().await;
    let address = postgres.address().unwrap();
    let mut session = open_session(address).unwrap();
    query(&mut session, "CREATE TABLE remembered AS SELECT 42").unwrap();

    postgres.kill().await.unwrap();
    assert!(ask(&mut session).is_err());
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    postgres.start_again().await.unwrap();
    assert_eq!(postgres.address().unwrap(), address);
    assert_eq!(query(&mut open_session(address).unwrap(), "SELECT * FROM remembered").unwrap(), b'T');
    assert!(postgres.start_again().await.is_err(), "it is running");
}

#[tokio::test]
async fn a_frozen_server_can_be_killed_and_started_again() {
    let postgres = start().await;
    postgres.freeze().await.unwrap();
    postgres.kill().await.unwrap();
    assert!(postgres.freeze().await.is_err(), "nothing is left to freeze");
    postgres.start_again().await.unwrap();
    assert!(begins_session(postgres.address().unwrap()).unwrap());
}

#[tokio::test]
async fn a_restart_ends_sessions_and_keeps_data_and_port() {
    let postgres = start().await;
    let address = postgres.address().unwrap();
    let mut session = open_session(address).unwrap();
    query(&mut session, "CREATE TABLE remembered AS SELECT 42").unwrap();
    for _ in 0..3 {
        postgres.restart().await.unwrap();
        assert!(ask(&mut session).is_err() || ask(&mut session).is_err(), "the session outlived the server");
        session = open_session(address).unwrap();
    }
    assert_eq!(query(&mut session, "SELECT * FROM remembered").unwrap(), b'T');
}

#[tokio::test]
async fn dropping_it_ends_the_server_even_a_frozen_one() {
    for frozen in [false, true] {
        let postgres = start().await;
        let address = postgres.address().unwrap();
        let directory = directory_of(address);
        let _session = open_session(address).unwrap();
        if frozen {
            postgres.freeze().await.unwrap();
        }
        drop(postgres);
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(!directory.exists());
    }
}

#[tokio::test]
async fn nothing_is_left_when_the_test_process_is_killed() {
    for argument in ["running", "frozen"] {
        let mut holder = Holder::start(argument);
        let directory = directory_of(holder.address);
        assert!(TcpStream::connect(holder.address).is_ok(), "{argument}");
        // As a test runner does at a time limit: SIGKILL for the whole process group.
        kill_process_group(Pid::from_child(&holder.process), Signal::KILL).unwrap();
        holder.process.wait().unwrap();
        poll_until(&format!("the {argument} server is gone"), || {
            TcpStream::connect(holder.address).is_err() && !directory.exists()
        })
        .await;
        assert!(!command_lines().iter().any(|line| line.contains(&format!("-p {} ", holder.address.port()))));
    }
}

#[test]
fn a_url_in_the_environment_is_used_or_refused_with_a_reason_and_without_its_password() {
    for (url, words) in
        [("postgres://user:secret@127.0.0.1:1/database", "127.0.0.1:1"), ("postgres://user:secret@:port", "is no URL")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_hold-postgres"))
            .arg("any")
            .env("LEASE_TEST_POSTGRES_URL", url)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(message.contains("LEASE_TEST_POSTGRES_URL") && message.contains(words), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[test]
fn without_any_server_the_message_says_what_to_do() {
    let empty = std::env::temp_dir().join(format!("lease-test-empty-{}", std::process::id()));
    std::fs::create_dir(&empty).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hold-postgres"))
        .arg("any")
        .env_remove("LEASE_TEST_POSTGRES_URL")
        .env("PATH", &empty)
        .env("LEASE_TEST_DEBIAN_POSTGRES", &empty)
        .env("DOCKER_HOST", "tcp://127.0.0.1:1")
        .output()
        .unwrap();
    std::fs::remove_dir(&empty).unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for words in ["LEASE_TEST_POSTGRES_URL=", "apt-get install postgresql", "container"] {
        assert!(message.contains(words), "{message}");
    }
}

/// One that can be harmed, whatever the environment says.
async fn start() -> Postgres {
    Postgres::start_local(&[]).await.unwrap()
}

/// A process that holds a server and waits for its own death.
struct Holder {
    process: Child,
    address: SocketAddr,
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It never ends by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Holder {
    fn start(argument: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hold-postgres"))
            .arg(argument)
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let address = url.split('@').nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        Self { process, address }
    }
}

/// The scratch directory of the server that listens there.
fn directory_of(address: SocketAddr) -> PathBuf {
    let data = std::env::var_os("LEASE_TEST_DATA").filter(|data| !data.is_empty());
    let data = data.map_or_else(std::env::temp_dir, PathBuf::from);
    let directories = std::fs::read_dir(data).unwrap().flatten();
    let listens_there = |directory: &Path| {
        let pid_file = std::fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
        pid_file.lines().nth(3) == Some(&address.port().to_string())
    };
    directories.map(|entry| entry.path()).find(|directory| listens_there(directory)).unwrap()
}

fn command_lines() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    lines.map(|line| line.replace('\0', " ")).collect()
}

async fn poll_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = SystemClock.now() + Duration::from_secs(10);
    while !condition() {
        assert!(SystemClock.now() < deadline, "waited in vain: {what}");
        SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(5)).await;
    }
}

/// Whether a new session begins. These few lines of protocol keep a driver out of the harness.
fn begins_session(address: SocketAddr) -> std::io::Result<bool> {
    open_session(address).map(|_| true)
}

fn open_session(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    stream.write_all(&(body.len() as u32 + 4).to_be_bytes())?;
    stream.write_all(body)?;
    let mut kind = read_message(&mut stream)?;
    while kind != b'Z' {
        if kind == b'E' {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        kind = read_message(&mut stream)?;
    }
    Ok(stream)
}

fn ask(session: &mut TcpStream) -> std::io::Result<u8> {
    query(session, "SELECT 1")
}

/// The kind of the first message of the answer: T with rows, C without, E for an error.
fn query(session: &mut TcpStream, sql: &str) -> std::io::Result<u8> {
    session.write_all(b"Q")?;
    session.write_all(&(sql.len() as u32 + 5).to_be_bytes())?;
    session.write_all(sql.as_bytes())?;
    session.write_all(b"\0")?;
    read_answer(session)
}

fn read_answer(session: &mut TcpStream) -> std::io::Result<u8> {
    let first = read_message(session)?;
    if first == b'E' {
        return Err(ErrorKind::Other.into());
    }
    let mut kind = first;
    while kind != b'Z' {
        kind = read_message(session)?;
    }
    Ok(first)
}

fn read_message(session: &mut TcpStream) -> std::io::Result<u8> {
    let mut head = [0; 5];
    session.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) - 4;
    let mut body = vec![0; length as usize];
    session.read_exact(&mut body)?;
    Ok(head[0])
}
