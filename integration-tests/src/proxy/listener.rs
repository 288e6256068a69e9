//! A listening socket that can be closed and opened again on the same port.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
};

use crate::ports::free_port;

/// A listening socket that can be closed and opened again on the same port. Clones are the same socket.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    address: SocketAddr,
    runtime: Handle,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The socket twice: for the runtime, and for direct calls to the system, which reports new connections earlier.
    socket: Option<(TcpListener, std::net::TcpListener)>,
    /// Accepted connections that no task has taken yet.
    taken: VecDeque<TcpStream>,
    /// Wakes the task that waits for a connection.
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
                // Another process took the port in the meantime.
                Err(_) if attempts > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port. When this returns, new connections are refused. Those opened before are not lost.
    pub(super) fn close(&self) {
        let mut state = self.state();
        let opened = self.opened(&state);
        state.taken.extend(opened);
        state.socket = None;
        state.wake();
    }

    /// Opens the port. When this returns, new connections are accepted.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.socket.is_none() {
            // This sets SO_REUSEADDR, because earlier connections may linger.
            let socket = std::net::TcpListener::bind(self.address)?;
            socket.set_nonblocking(true)?;
            let same = socket.try_clone()?;
            let _runtime = self.runtime.enter();
            state.socket = Some((TcpListener::from_std(socket)?, same));
            state.wake();
        }
        Ok(())
    }

    /// Accepts the connections that clients have opened. Tasks that accept later connections observe what `mark` has done.
    pub(super) fn take_unaccepted(&self, mark: impl FnOnce()) -> Vec<TcpStream> {
        let mut state = self.state();
        mark();
        let opened = self.opened(&state);
        state.taken.drain(..).chain(opened).collect()
    }

    /// Waits for the next connection. Returns it with the value of `observe` at the moment of accepting.
    pub(super) async fn accept<T>(&self, observe: impl Fn() -> T) -> io::Result<(TcpStream, T)> {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            state.poll_accept(context).map_ok(|stream| (stream, observe()))
        })
        .await
    }

    fn opened(&self, state: &State) -> Vec<TcpStream> {
        let _runtime = self.runtime.enter();
        let Some((_, socket)) = &state.socket else { return Vec::new() };
        let opened = std::iter::from_fn(|| socket.accept().ok());
        opened
            .filter_map(|(stream, _)| {
                stream.set_nonblocking(true).ok()?;
                TcpStream::from_std(stream).ok()
            })
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        if let Some(stream) = self.taken.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        self.waker = Some(context.waker().clone());
        match &self.socket {
            Some((socket, _)) => socket.poll_accept(context).map_ok(|(stream, _)| stream),
            None => Poll::Pending,
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
