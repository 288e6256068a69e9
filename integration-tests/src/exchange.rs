//! A telephone exchange that can connect wrongly: it gives two answers of a server to each other's calls.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lease_core::{Clock, Moment, SystemClock};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

/// How the answers to calls are told from each other in what a server sends: what comes first in these bytes, and how long it is;
/// nothing while it is not there to its end.
pub type Framing = fn(&[u8]) -> Option<Frame>;

/// A part of what a server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// The whole answer to one call, so many bytes.
    Answer(usize),
    /// Something else.
    Other(usize),
}

/// Passes everything on between clients and a server, until it is told to mix up two answers: on one connection or on two.
#[derive(Debug)]
pub struct Exchange {
    address: SocketAddr,
    orders: Arc<Orders>,
    acceptor: AbortHandle,
}

#[derive(Debug, Default)]
struct Orders {
    mixes_up: AtomicBool,
    is_done: AtomicBool,
}

/// How long an answer waits for another one.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a server sent on the connection with this number, or the way to its client.
enum Event {
    Opened(u64, OwnedWriteHalf),
    Sent(u64, Vec<u8>),
}

impl Exchange {
    /// Starts one in front of a server.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start(server: SocketAddr, framing: Framing) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let orders = Arc::<Orders>::default();
        let board = Board {
            framing,
            orders: Arc::clone(&orders),
            clients: HashMap::new(),
            new: HashSet::new(),
            held: Vec::new(),
        };
        let acceptor = tokio::spawn(async move {
            let (events, sent) = mpsc::channel(64);
            let mut tasks = JoinSet::new();
            tasks.spawn(board.run(sent));
            let mut number = 0;
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                number += 1;
                let (mut from_client, to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                let _ = events.send(Event::Opened(number, to_client)).await;
                tasks.spawn(read(number, from_server, events.clone()));
                tasks.spawn(async move {
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                });
            }
        });
        Ok(Self { address, orders, acceptor: acceptor.abort_handle() })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next two answers go to each other's calls, if the second one comes within a second. Answers on connections that are
    /// opened meanwhile do not count.
    pub fn mix_up(&self) {
        self.orders.is_done.store(false, Ordering::SeqCst);
        self.orders.mixes_up.store(true, Ordering::SeqCst);
    }

    /// Whether that was done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.orders.is_done.load(Ordering::SeqCst)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn read(number: u64, mut from: OwnedReadHalf, events: mpsc::Sender<Event>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // No bytes: the end, which the client is told.
        let length = from.read(&mut buffer).await.unwrap_or(0);
        if events.send(Event::Sent(number, buffer[..length].to_vec())).await.is_err() || length == 0 {
            return;
        }
    }
}

/// Where all answers pass, one after the other.
struct Board {
    framing: Framing,
    orders: Arc<Orders>,
    clients: HashMap<u64, OwnedWriteHalf>,
    /// Opened since it was told to mix up: what comes there need not have a beginning that is understood.
    new: HashSet<u64>,
    /// What came since it was told to mix up, in order.
    held: Vec<(u64, Vec<u8>)>,
}

impl Board {
    async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut gives_up_at = None;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = sleep_until(gives_up_at) => {
                    gives_up_at = None;
                    self.end(false).await;
                    continue;
                }
            };
            let Some(event) = event else { return };
            let mixes_up = self.orders.mixes_up.load(Ordering::SeqCst);
            match event {
                Event::Opened(number, client) => {
                    self.clients.insert(number, client);
                    if mixes_up {
                        self.new.insert(number);
                    }
                }
                Event::Sent(number, bytes) if bytes.is_empty() => {
                    self.clients.remove(&number);
                }
                Event::Sent(number, bytes) if mixes_up && !self.new.contains(&number) => {
                    self.hold(number, bytes).await;
                }
                Event::Sent(number, bytes) => self.pass(number, &bytes).await,
            }
            gives_up_at = match gives_up_at {
                _ if self.held.is_empty() => None,
                None => Some(SystemClock.now() + PATIENCE),
                waiting => waiting,
            };
        }
    }

    /// Passes what is held.
    async fn end(&mut self, is_done: bool) {
        self.orders.mixes_up.store(false, Ordering::SeqCst);
        self.orders.is_done.store(is_done, Ordering::SeqCst);
        self.new.clear();
        for (number, bytes) in std::mem::take(&mut self.held) {
            self.pass(number, &bytes).await;
        }
    }

    async fn pass(&mut self, number: u64, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(&number) {
            let _ = client.write_all(bytes).await;
        }
    }

    /// Keeps it until there are two whole answers.
    async fn hold(&mut self, number: u64, mut bytes: Vec<u8>) {
        let is_held = self.held.iter().any(|(held, _)| *held == number);
        while !is_held && let Some(Frame::Other(length)) = (self.framing)(&bytes) {
            let other: Vec<u8> = bytes.drain(..length).collect();
            self.pass(number, &other).await;
        }
        if bytes.is_empty() {
            return;
        }
        match self.held.iter_mut().find(|(held, _)| *held == number) {
            Some((_, held)) => held.extend(bytes),
            None => self.held.push((number, bytes)),
        }
        let mut answers = Vec::new();
        for (place, (_, bytes)) in self.held.iter().enumerate() {
            let mut from = 0;
            while let Some(frame) = (self.framing)(&bytes[from..]) {
                let (Frame::Answer(length) | Frame::Other(length)) = frame;
                if matches!(frame, Frame::Answer(_)) {
                    answers.push((place, from..from + length));
                }
                from += length;
            }
        }
        let [(one, first), (other, second), ..] = &answers[..] else { return };
        let (one_text, other_text) =
            (self.held[*one].1[first.clone()].to_vec(), self.held[*other].1[second.clone()].to_vec());
        // From behind, so that what comes before keeps its place.
        self.held[*other].1.splice(second.clone(), one_text);
        self.held[*one].1.splice(first.clone(), other_text);
        self.end(true).await;
    }
}

async fn sleep_until(moment: Option<Moment>) {
    match moment {
        Some(moment) => SystemClock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    /// Each answer is a line; one that begins with `#` is something else.
    fn lines(bytes: &[u8]) -> Option<Frame> {
        let length = bytes.iter().position(|byte| *byte == b'\n')? + 1;
        Some(if bytes[0] == b'#' { Frame::Other(length) } else { Frame::Answer(length) })
    }

    async fn connect(exchange: &Exchange, server: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(exchange.address()).await.unwrap();
        (client, server.accept().await.unwrap().0)
    }

    async fn receive(client: &mut TcpStream, length: usize) -> String {
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn two_answers_change_places_once_on_one_connection_or_on_two() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let exchange = Exchange::start(server.local_addr().unwrap(), lines).await.unwrap();
        let (mut client, mut serving) = connect(&exchange, &server).await;
        serving.write_all(b"first\n").await.unwrap();
        assert_eq!(receive(&mut client, 6).await, "first\n");

        exchange.mix_up();
        serving.write_all(b"one\n#x\n").await.unwrap();
        serving.write_all(b"other\nlater\n").await.unwrap();
        assert_eq!(receive(&mut client, 19).await, "other\n#x\none\nlater\n");
        assert!(exchange.is_done());

        let (mut second, mut serving_second) = connect(&exchange, &server).await;
        serving_second.write_all(b"is there\n").await.unwrap();
        assert_eq!(receive(&mut second, 9).await, "is there\n");
        exchange.mix_up();
        serving.write_all(b"for one\n").await.unwrap();
        serving_second.write_all(b"two\n").await.unwrap();
        assert_eq!(receive(&mut client, 4).await, "two\n");
        assert_eq!(receive(&mut second, 8).await, "for one\n");
        assert!(exchange.is_done());
    }

    #[tokio::test]
    async fn an_answer_that_stays_alone_and_what_is_none_are_passed() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let exchange = Exchange::start(server.local_addr().unwrap(), lines).await.unwrap();
        let (mut client, mut serving) = connect(&exchange, &server).await;
        exchange.mix_up();
        serving.write_all(b"#x\n").await.unwrap();
        assert_eq!(receive(&mut client, 3).await, "#x\n");
        let (mut new, mut serving_new) = connect(&exchange, &server).await;
        serving_new.write_all(b"new\n").await.unwrap();
        assert_eq!(receive(&mut new, 4).await, "new\n");
        serving.write_all(b"alone\n").await.unwrap();
        assert_eq!(receive(&mut client, 6).await, "alone\n");
        assert!(!exchange.is_done());
    }
}
