//! A listening socket that can be closed and opened again on the same port.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
};

use crate::ports::free_port;

/// A listening socket that can be closed and opened again on the same port. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    address: SocketAddr,
    runtime: Handle,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    socket: Option<TcpListener>,
    /// Who waits for a connection.
    waker: Option<Waker>,
}

impl Listener {
    /// Listens on a free port of the loopback interface.
    pub(super) fn open() -> io::Result<Self> {
        let mut attempts = 10;
        loop {
            let port = free_port().map_err(io::Error::other)?;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let listener = Self { address, runtime: Handle::current(), state: Arc::default() };
            attempts -= 1;
            match listener.reopen() {
                Ok(()) => return Ok(listener),
                // Another process took the port meanwhile.
                Err(_) if attempts > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Once this returns, new connections are refused.
    pub(super) fn close(&self) {
        self.state().socket = None;
    }

    /// Once this returns, new connections are accepted.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.socket.is_none() {
            // This sets SO_REUSEADDR: connections of before may linger.
            let socket = std::net::TcpListener::bind(self.address)?;
            socket.set_nonblocking(true)?;
            let _runtime = self.runtime.enter();
            state.socket = Some(TcpListener::from_std(socket)?);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
        Ok(())
    }

    /// The next connection; waits while closed.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            state.waker = Some(context.waker().clone());
            match &state.socket {
                Some(socket) => socket.poll_accept(context).map_ok(|(stream, _)| stream),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
