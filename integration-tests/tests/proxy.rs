//! The proxy, in front of a small server that answers every request with as many bytes.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    future::Future,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use integration_tests::{Direction, Proxy};
use lease_core::{Clock, SystemClock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Long enough for what passes at once, short enough to wait for what must not come.
const MOMENT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn passes_both_ways_and_to_the_end() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    let request = vec![7; 3_000_000];
    let (mut read, mut write) = client.split();
    let mut answer = Vec::new();
    let (sent, received) = tokio::join!(
        async {
            write.write_all(&request).await?;
            write.shutdown().await
        },
        read.read_to_end(&mut answer)
    );
    sent.unwrap();
    received.unwrap();
    assert!(answer == request);
    assert_eq!(server.received(), request.len());
    poll_until("the connection is forgotten", || proxy.connections() == 0).await;
}

#[tokio::test]
async fn delays_each_direction_by_its_own_time_and_keeps_the_order() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    proxy.delay(Direction::Requests, Duration::from_millis(200));
    let start = SystemClock.now();
    client.write_all(b"one ").await.unwrap();
    poll_until("the request arrives", || server.received() == 4).await;
    let took = SystemClock.now().saturating_since(start);
    assert!(took >= Duration::from_millis(200) && took < Duration::from_millis(500), "{took:?}");
    assert_eq!(read(&mut client, 4).await.unwrap(), b"one ");

    // Requests wait for 300 ms, answers for 100: 400 in all, and several are under way together.
    proxy.delay(Direction::Both, Duration::from_millis(300));
    proxy.delay(Direction::Answers, Duration::from_millis(100));
    let start = SystemClock.now();
    for word in [b"two ", b"and ", b"ends"] {
        client.write_all(word).await.unwrap();
        nap(Duration::from_millis(10)).await;
    }
    assert_eq!(read(&mut client, 12).await.unwrap(), b"two and ends");
    let took = SystemClock.now().saturating_since(start);
    assert!(took >= Duration::from_millis(400) && took < Duration::from_millis(750), "{took:?}");
}

#[tokio::test]
async fn a_shorter_delay_overtakes_nothing_and_healing_hurries_it() {
    let (_server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    proxy.delay(Direction::Requests, Duration::from_secs(3600));
    client.write_all(b"slow ").await.unwrap();
    nap(MOMENT).await;
    proxy.delay(Direction::Requests, Duration::ZERO);
    client.write_all(b"fast").await.unwrap();
    assert_silent(&mut client).await;
    proxy.heal();
    assert_eq!(read(&mut client, 9).await.unwrap(), b"slow fast");
}

#[tokio::test]
async fn limits_the_bandwidth_of_one_direction_until_it_is_healed() {
    let (_server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    let request = [7; 10_000];
    proxy.limit_bandwidth(Direction::Requests, 20_000);
    for (direction, limited) in [(Direction::Requests, true), (Direction::Answers, true), (Direction::Both, false)] {
        let start = SystemClock.now();
        client.write_all(&request).await.unwrap();
        assert_eq!(read(&mut client, request.len()).await.unwrap(), request);
        let took = SystemClock.now().saturating_since(start);
        let expected = if limited { 450..900 } else { 0..200 };
        assert!(expected.contains(&took.as_millis()), "{direction:?}: {took:?}");
        proxy.heal();
        if direction == Direction::Requests {
            proxy.limit_bandwidth(Direction::Answers, 20_000);
        }
    }
    // Healing hurries what is under way.
    proxy.limit_bandwidth(Direction::Both, 1);
    client.write_all(b"slow").await.unwrap();
    assert_eq!(read(&mut client, 1).await.unwrap(), b"s");
    assert_silent(&mut client).await;
    proxy.heal();
    assert_eq!(read(&mut client, 3).await.unwrap(), b"low");
}

#[tokio::test]
async fn new_connections_reach_another_server_after_it_was_redirected() {
    let (first, proxy) = start().await;
    let mut old = connect(&proxy).await;
    old.write_all(b"old").await.unwrap();
    assert_eq!(read(&mut old, 3).await.unwrap(), b"old");
    let second = EchoServer::start().await;
    proxy.redirect(second.address);
    let mut new = connect(&proxy).await;
    for (client, word) in [(&mut new, b"new"), (&mut old, b"old")] {
        client.write_all(word).await.unwrap();
        assert_eq!(read(client, 3).await.unwrap(), word);
    }
    assert_eq!((first.received(), second.received()), (6, 3));
}

#[tokio::test]
async fn a_delayed_request_outlives_its_client() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await.unwrap(), b"hello");
    proxy.delay(Direction::Requests, Duration::from_millis(200));
    client.write_all(b"last words").await.unwrap();
    client.set_zero_linger().unwrap();
    drop(client);
    nap(Duration::from_millis(50)).await;
    assert_eq!(server.received(), 5);
    poll_until("the request arrives", || server.received() == 15).await;
}

#[tokio::test]
async fn a_black_hole_passes_nothing_and_after_healing_everything() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    proxy.black_hole(Direction::Both);
    client.write_all(b"hello").await.unwrap();
    assert_silent(&mut client).await;
    assert_eq!(server.received(), 0);
    // New connections open, and are as silent.
    let mut other = connect(&proxy).await;
    other.write_all(b"other").await.unwrap();
    assert_silent(&mut other).await;
    proxy.heal();
    assert_eq!(read(&mut client, 5).await.unwrap(), b"hello");
    assert_eq!(read(&mut other, 5).await.unwrap(), b"other");
}

#[tokio::test]
async fn a_black_hole_of_one_direction_leaves_the_other() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    proxy.black_hole(Direction::Answers);
    client.write_all(b"hello").await.unwrap();
    poll_until("the request arrives", || server.received() == 5).await;
    assert_silent(&mut client).await;
    proxy.heal();
    assert_eq!(read(&mut client, 5).await.unwrap(), b"hello");

    proxy.black_hole(Direction::Requests);
    client.write_all(b"again").await.unwrap();
    assert_silent(&mut client).await;
    assert_eq!(server.received(), 5);
    proxy.heal();
    assert_eq!(read(&mut client, 5).await.unwrap(), b"again");
}

#[tokio::test]
async fn a_black_hole_hides_the_end_of_the_other_side() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await.unwrap(), b"hello");
    assert_eq!(proxy.connections(), 1);
    proxy.black_hole(Direction::Both);
    drop(server);
    assert_silent(&mut client).await;
    proxy.heal();
    assert_closed(&mut client).await;
}

#[tokio::test]
async fn a_black_hole_holds_little_and_its_sender_waits() {
    let (_server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    proxy.black_hole(Direction::Both);
    let mut sent = 0;
    let chunk = vec![0; 1 << 20];
    while let Some(length) = within(MOMENT, client.write(&chunk)).await {
        sent += length.unwrap();
        assert!(sent < 64 << 20, "the proxy swallows without end");
    }
}

#[tokio::test]
async fn dropped_answers_reach_nobody_and_healing_resets_who_lost_some() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    let mut bystander = connect(&proxy).await;
    proxy.drop_answers();
    client.write_all(b"commit").await.unwrap();
    poll_until("the request arrives", || server.received() == 6).await;
    assert_silent(&mut client).await;
    proxy.heal();
    assert_reset(&mut client).await;
    bystander.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut bystander, 5).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_reset_hits_all_open_connections_and_no_new_ones() {
    let (_server, proxy) = start().await;
    let (mut one, mut two) = (connect(&proxy).await, connect_unmet(&proxy));
    proxy.reset_connections();
    assert_reset(&mut one).await;
    assert_reset(&mut two).await;
    let mut three = connect(&proxy).await;
    three.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut three, 5).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_reset_passes_through_a_black_hole() {
    let (_server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    proxy.black_hole(Direction::Both);
    // Even one whose proxy waits to write.
    let _ = within(MOMENT, client.write_all(&vec![0; 32 << 20])).await;
    proxy.reset_connections();
    assert_reset(&mut client).await;
}

#[tokio::test]
async fn refuses_new_connections_keeps_old_ones_and_heals_on_the_same_port() {
    let (_server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await.unwrap(), b"hello");
    for _ in 0..3 {
        let mut just_in_time = connect_unmet(&proxy);
        proxy.refuse_connections();
        assert_eq!(TcpStream::connect(proxy.address()).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        client.write_all(b"still").await.unwrap();
        assert_eq!(read(&mut client, 5).await.unwrap(), b"still");
        just_in_time.write_all(b"in time").await.unwrap();
        assert_eq!(read(&mut just_in_time, 7).await.unwrap(), b"in time");
        proxy.heal();
        let mut late = connect(&proxy).await;
        late.write_all(b"late").await.unwrap();
        assert_eq!(read(&mut late, 4).await.unwrap(), b"late");
    }
}

#[tokio::test]
async fn cuts_after_so_many_bytes_of_one_direction() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    client.write_all(b"before").await.unwrap();
    assert_eq!(read(&mut client, 6).await.unwrap(), b"before");
    proxy.cut_after(Direction::Answers, 4);
    client.write_all(b"in the middle").await.unwrap();
    assert_eq!(read(&mut client, 4).await.unwrap(), b"in t");
    assert_closed(&mut client).await;
    assert_eq!(server.received(), 6 + 13, "requests are not cut");

    // New connections count from their beginning, and requests too.
    proxy.heal();
    proxy.cut_after(Direction::Requests, 4);
    let mut client = connect(&proxy).await;
    client.write_all(b"in the middle").await.unwrap();
    poll_until("as much as may arrives", || server.received() == 19 + 4).await;
    poll_until("the connection has ended", || proxy.connections() == 0).await;
    nap(MOMENT).await;
    assert_eq!(server.received(), 19 + 4);

    proxy.heal();
    let mut client = connect(&proxy).await;
    client.write_all(b"healed").await.unwrap();
    assert_eq!(read(&mut client, 6).await.unwrap(), b"healed");
}

#[tokio::test]
async fn a_cut_after_nothing_ends_open_connections_at_once() {
    let (_server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await.unwrap(), b"hello");
    proxy.cut_after(Direction::Both, 0);
    assert_closed(&mut client).await;
}

#[tokio::test]
async fn a_client_of_a_dead_server_is_reset() {
    let (server, proxy) = start().await;
    drop(server);
    let mut client = connect(&proxy).await;
    assert_reset(&mut client).await;
}

#[tokio::test]
async fn dropping_it_closes_its_port_and_its_connections() {
    let (_server, proxy) = start().await;
    let address = proxy.address();
    let mut client = connect(&proxy).await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await.unwrap(), b"hello");
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    drop(proxy);
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_closed(&mut client).await;
    let metrics = tokio::runtime::Handle::current().metrics();
    // The acceptor, and one connection at each end.
    poll_until("its tasks have ended", || metrics.num_alive_tasks() + 3 <= tasks).await;
}

/// Sends back whatever it receives.
struct EchoServer {
    received: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
    address: SocketAddr,
}

impl EchoServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&received);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(echo(stream, Arc::clone(&counter)));
            }
        });
        Self { received, task, address }
    }

    fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(mut stream: TcpStream, received: Arc<AtomicUsize>) {
    let mut buffer = vec![0; 65536];
    while let Ok(length) = stream.read(&mut buffer).await
        && length > 0
    {
        received.fetch_add(length, Ordering::SeqCst);
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn start() -> (EchoServer, Proxy) {
    let server = EchoServer::start().await;
    let proxy = Proxy::start(server.address).await.unwrap();
    (server, proxy)
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// A connection that the proxy has not met yet: its tasks had no chance to run.
fn connect_unmet(proxy: &Proxy) -> TcpStream {
    let stream = std::net::TcpStream::connect(proxy.address()).unwrap();
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

async fn read(client: &mut TcpStream, length: usize) -> std::io::Result<Vec<u8>> {
    let mut answer = vec![0; length];
    let read = within(Duration::from_secs(10), client.read_exact(&mut answer)).await;
    read.unwrap_or_else(|| Err(ErrorKind::TimedOut.into()))?;
    Ok(answer)
}

async fn assert_silent(client: &mut TcpStream) {
    let read = within(MOMENT, client.read(&mut [0; 100])).await;
    assert!(read.is_none(), "{read:?} came through");
}

async fn assert_reset(client: &mut TcpStream) {
    assert_eq!(read(client, 1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// In good order or not.
async fn assert_closed(client: &mut TcpStream) {
    let error = read(client, 1).await.unwrap_err().kind();
    assert!(matches!(error, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        result = future => Some(result),
        () = nap(limit) => None,
    }
}

async fn nap(duration: Duration) {
    SystemClock.sleep_until(SystemClock.now() + duration).await;
}

async fn poll_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = SystemClock.now() + Duration::from_secs(10);
    while !condition() {
        assert!(SystemClock.now() < deadline, "waited in vain: {what}");
        nap(Duration::from_millis(2)).await;
    }
}
