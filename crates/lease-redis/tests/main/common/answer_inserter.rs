//! A proxy between a client and a server that inserts answers of its own.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

#[derive(Debug, Clone)]
enum Insertion {
    Before(String),
    InsteadOf(String),
    After(String),
}

/// A proxy that carries out each insertion once, on the connection that receives the next answer of a script.
pub(crate) struct AnswerInserter {
    address: SocketAddr,
    insertions: Arc<Mutex<VecDeque<Insertion>>>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl AnswerInserter {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (insertions, accepted) = (Arc::<Mutex<VecDeque<Insertion>>>::default(), Arc::<AtomicUsize>::default());
        let (for_all, count) = (Arc::clone(&insertions), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(pass_on(client, TcpStream::connect(server).await.unwrap(), Arc::clone(&for_all)));
            }
        });
        Self { address, insertions, accepted, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Inserts an answer before the next one. From then on, every answer on that connection is one behind.
    pub(crate) fn before_the_next_answer(&self, answer: &str) {
        self.insertions.lock().unwrap().push_back(Insertion::Before(answer.to_owned()));
    }

    /// Replaces the next answer.
    pub(crate) fn instead_of_the_next_answer(&self, answer: &str) {
        self.insertions.lock().unwrap().push_back(Insertion::InsteadOf(answer.to_owned()));
    }

    /// Inserts an answer behind the next one.
    pub(crate) fn after_the_next_answer(&self, answer: &str) {
        self.insertions.lock().unwrap().push_back(Insertion::After(answer.to_owned()));
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn connections_so_far(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.insertions.lock().unwrap().is_empty()
    }
}

impl Drop for AnswerInserter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(client: TcpStream, server: TcpStream, insertions: Arc<Mutex<VecDeque<Insertion>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut answer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut answer).await {
        // Answers of scripts are arrays. On a new connection the store checks the server by itself; those answers pass.
        let insertion = if answer[0] == b'*' { insertions.lock().unwrap().pop_front() } else { None };
        let answer = &answer[..length];
        let bytes = match &insertion {
            None => answer.to_vec(),
            Some(Insertion::Before(text)) => [text.as_bytes(), answer].concat(),
            Some(Insertion::InsteadOf(text)) => text.as_bytes().to_vec(),
            Some(Insertion::After(text)) => [answer, text.as_bytes()].concat(),
        };
        if to_client.write_all(&bytes).await.is_err() {
            break;
        }
    }
    requests.abort();
}
