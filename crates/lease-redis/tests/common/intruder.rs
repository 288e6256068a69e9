//! A proxy that puts answers between a server and its client which are not the server's.

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
enum Order {
    Before(String),
    InsteadOf(String),
}

/// Each order is carried out once, on the connection on which the next answer to a call comes.
pub(crate) struct Intruder {
    address: SocketAddr,
    orders: Arc<Mutex<VecDeque<Order>>>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Intruder {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, accepted) = (Arc::<Mutex<VecDeque<Order>>>::default(), Arc::<AtomicUsize>::default());
        let (for_all, count) = (Arc::clone(&orders), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(pass_on(client, TcpStream::connect(server).await.unwrap(), Arc::clone(&for_all)));
            }
        });
        Self { address, orders, accepted, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From then on, every answer on that connection is one behind.
    pub(crate) fn before_the_next_answer(&self, answer: &str) {
        self.orders.lock().unwrap().push_back(Order::Before(answer.to_owned()));
    }

    pub(crate) fn instead_of_the_next_answer(&self, answer: &str) {
        self.orders.lock().unwrap().push_back(Order::InsteadOf(answer.to_owned()));
    }

    pub(crate) fn connections_so_far(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.orders.lock().unwrap().is_empty()
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(client: TcpStream, server: TcpStream, orders: Arc<Mutex<VecDeque<Order>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut answer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut answer).await {
        // Those of scripts are arrays. Behind a new connection the store looks at the server by itself, which is not meant.
        let order = if answer[0] == b'*' { orders.lock().unwrap().pop_front() } else { None };
        let (before, is_kept) = match &order {
            None => ("", true),
            Some(Order::Before(text)) => (text.as_str(), true),
            Some(Order::InsteadOf(text)) => (text.as_str(), false),
        };
        let rest: &[u8] = if is_kept { &answer[..length] } else { &[] };
        if to_client.write_all(&[before.as_bytes(), rest].concat()).await.is_err() {
            break;
        }
    }
    requests.abort();
}
