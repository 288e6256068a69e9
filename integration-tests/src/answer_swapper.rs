//! A proxy that swaps two answers of a server: each goes to the call of the other.

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

/// Finds the first frame in bytes that a server sent. Returns `None` while the frame is incomplete.
pub type Framing = fn(&[u8]) -> Option<Frame>;

/// A part of what a server sends, with its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// The answer to one call.
    Answer(usize),
    /// Anything else.
    Other(usize),
}

/// A proxy between clients and a server. On request it swaps two answers, on one connection or on two.
#[derive(Debug)]
pub struct AnswerSwapper {
    address: SocketAddr,
    orders: Arc<Orders>,
    acceptor: AbortHandle,
}

#[derive(Debug, Default)]
struct Orders {
    swaps: AtomicBool,
    has_swapped: AtomicBool,
}

/// How long an answer is held for the second one.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection, by its number: its opening, with the way to its client, or bytes that the server sent on it.
enum Event {
    Opened(u64, OwnedWriteHalf),
    Sent(u64, Vec<u8>),
}

impl AnswerSwapper {
    /// Starts a proxy in front of a server.
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

    /// Returns the address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Swaps the next two answers if the second one comes within a second. Answers on connections that are opened in the
    /// meantime do not count.
    pub fn swap_next(&self) {
        self.orders.has_swapped.store(false, Ordering::SeqCst);
        self.orders.swaps.store(true, Ordering::SeqCst);
    }

    /// Returns whether two answers were swapped since the last [`swap_next`](Self::swap_next).
    #[must_use]
    pub fn has_swapped(&self) -> bool {
        self.orders.has_swapped.load(Ordering::SeqCst)
    }
}

impl Drop for AnswerSwapper {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn read(number: u64, mut from: OwnedReadHalf, events: mpsc::Sender<Event>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // No bytes mark the end of the stream, which is passed on to the client.
        let length = from.read(&mut buffer).await.unwrap_or(0);
        if events.send(Event::Sent(number, buffer[..length].to_vec())).await.is_err() || length == 0 {
            return;
        }
    }
}

/// The task through which all answers pass, in order.
struct Board {
    framing: Framing,
    orders: Arc<Orders>,
    clients: HashMap<u64, OwnedWriteHalf>,
    /// Connections opened since the swap was requested. Their first bytes need not be frames.
    new: HashSet<u64>,
    /// Bytes held since the swap was requested, in order.
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
            let swaps = self.orders.swaps.load(Ordering::SeqCst);
            match event {
                Event::Opened(number, client) => {
                    self.clients.insert(number, client);
                    if swaps {
                        self.new.insert(number);
                    }
                }
                Event::Sent(number, bytes) if bytes.is_empty() => {
                    self.clients.remove(&number);
                }
                Event::Sent(number, bytes) if swaps && !self.new.contains(&number) => {
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

    /// Passes the held bytes on.
    async fn end(&mut self, has_swapped: bool) {
        self.orders.swaps.store(false, Ordering::SeqCst);
        self.orders.has_swapped.store(has_swapped, Ordering::SeqCst);
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

    /// Holds bytes until there are two complete answers.
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
        // The later range first, so that the earlier one stays valid.
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

    /// Each answer is a line. A line that begins with `#` is another frame.
    fn lines(bytes: &[u8]) -> Option<Frame> {
        let length = bytes.iter().position(|byte| *byte == b'\n')? + 1;
        Some(if bytes[0] == b'#' { Frame::Other(length) } else { Frame::Answer(length) })
    }

    async fn connect(swapper: &AnswerSwapper, server: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(swapper.address()).await.unwrap();
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
        let swapper = AnswerSwapper::start(server.local_addr().unwrap(), lines).await.unwrap();
        let (mut client, mut serving) = connect(&swapper, &server).await;
        serving.write_all(b"first\n").await.unwrap();
        assert_eq!(receive(&mut client, 6).await, "first\n");

        swapper.swap_next();
        serving.write_all(b"one\n#x\n").await.unwrap();
        serving.write_all(b"other\nlater\n").await.unwrap();
        assert_eq!(receive(&mut client, 19).await, "other\n#x\none\nlater\n");
        assert!(swapper.has_swapped());

        let (mut second, mut serving_second) = connect(&swapper, &server).await;
        serving_second.write_all(b"is there\n").await.unwrap();
        assert_eq!(receive(&mut second, 9).await, "is there\n");
        swapper.swap_next();
        serving.write_all(b"for one\n").await.unwrap();
        serving_second.write_all(b"two\n").await.unwrap();
        assert_eq!(receive(&mut client, 4).await, "two\n");
        assert_eq!(receive(&mut second, 8).await, "for one\n");
        assert!(swapper.has_swapped());
    }

    #[tokio::test]
    async fn an_answer_that_stays_alone_and_what_is_none_are_passed() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let swapper = AnswerSwapper::start(server.local_addr().unwrap(), lines).await.unwrap();
        let (mut client, mut serving) = connect(&swapper, &server).await;
        swapper.swap_next();
        serving.write_all(b"#x\n").await.unwrap();
        assert_eq!(receive(&mut client, 3).await, "#x\n");
        let (mut new, mut serving_new) = connect(&swapper, &server).await;
        serving_new.write_all(b"new\n").await.unwrap();
        assert_eq!(receive(&mut new, 4).await, "new\n");
        serving.write_all(b"alone\n").await.unwrap();
        assert_eq!(receive(&mut client, 6).await, "alone\n");
        assert!(!swapper.has_swapped());
    }
}
