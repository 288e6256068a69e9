//! An HTTP proxy that writes down what it sees, and changes answers.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client,
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// An HTTP/1.1 proxy in front of a server: for assertions about requests, and for answers that the server does not make. Faults of
/// the network are those of [`Proxy`](crate::Proxy).
#[derive(Debug)]
pub struct HttpProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    acceptor: AbortHandle,
}

/// A request that has passed, or that was answered in place of the server.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// The method and the path with its query: `GET /v1/kv/job?consistent=`.
    pub line: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer in place of the server's.
#[derive(Debug, Clone)]
pub struct StubAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl StubAnswer {
    /// An answer with this status and this body.
    ///
    /// # Panics
    ///
    /// When there is no such status.
    #[must_use]
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or_else(|_| panic!("no status: {status}"));
        Self { status, headers: HeaderMap::new(), body: body.into() }
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// Makes the answer to a request, or leaves it to the server.
type Answer = dyn Fn(&SeenRequest) -> Option<StubAnswer> + Send + Sync;

#[derive(Default)]
struct State {
    seen: Vec<SeenRequest>,
    date_shift: i64,
    answer: Option<Arc<Answer>>,
    changed: HeaderMap,
    added: HeaderMap,
}

impl HttpProxy {
    /// Starts a proxy in front of a server, on a free port of the loopback interface. Its tasks run on the current runtime.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let accepting = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| pass_on(Arc::clone(&state), upstream, request));
                    // An error is a connection that ends.
                    let _ = stream.set_nodelay(true);
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        };
        let acceptor = tokio::spawn(accepting).abort_handle();
        Ok(Self { address, state, acceptor })
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the requests since the last call, in the order of their answers.
    #[must_use]
    pub fn take_requests(&self) -> Vec<SeenRequest> {
        std::mem::take(&mut lock(&self.state).seen)
    }

    /// Shifts the header `Date` of all answers from now on, by so many seconds.
    pub fn shift_dates(&self, seconds: i64) {
        lock(&self.state).date_shift = seconds;
    }

    /// Changes this header of requests that have it, from now on.
    pub fn change_header(&self, name: &'static str, value: &'static str) {
        lock(&self.state).changed.insert(name, HeaderValue::from_static(value));
    }

    /// Sets this header of all answers from now on.
    pub fn add_header(&self, name: &'static str, value: &'static str) {
        lock(&self.state).added.insert(name, HeaderValue::from_static(value));
    }

    /// Answers requests in place of the server, where this returns an answer.
    pub fn answer(&self, answer: impl Fn(&SeenRequest) -> Option<StubAnswer> + Send + Sync + 'static) {
        lock(&self.state).answer = Some(Arc::new(answer));
    }

    /// Leaves all answers to the server again.
    pub fn answer_nothing(&self) {
        lock(&self.state).answer = None;
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn pass_on(
    state: Arc<Mutex<State>>,
    upstream: SocketAddr,
    request: Request<Incoming>,
) -> io::Result<Response<Full<Bytes>>> {
    let (mut parts, body) = request.into_parts();
    for (name, value) in &lock(&state).changed {
        if let Some(old) = parts.headers.get_mut(name) {
            old.clone_from(value);
        }
    }
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let line = format!("{} {}", parts.method, parts.uri);
    let seen = SeenRequest { line, headers: parts.headers.clone(), body: body.to_vec() };
    let answer = lock(&state).answer.clone();
    let answer = answer.and_then(|answer| answer(&seen));
    let mut response = match answer {
        Some(answer) => answer.response(),
        None => ask(upstream, Request::from_parts(parts, Full::from(body))).await?,
    };
    let mut state = lock(&state);
    state.seen.push(seen);
    response.headers_mut().extend(state.added.clone());
    Ok(shifted(response, state.date_shift))
}

/// Asks the server, on a connection of its own.
async fn ask(upstream: SocketAddr, request: Request<Full<Bytes>>) -> io::Result<Response<Full<Bytes>>> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        Ok::<_, hyper::Error>(Response::from_parts(parts, Full::from(body.collect().await?.to_bytes())))
    };
    let answer = answer.await.map_err(io::Error::other);
    connection.abort();
    answer
}

fn shifted(mut response: Response<Full<Bytes>>, seconds: i64) -> Response<Full<Bytes>> {
    let date =
        response.headers().get(header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    if let Some(date) = date.filter(|_| seconds != 0) {
        let by = Duration::from_secs(seconds.unsigned_abs());
        let date = if seconds > 0 { date + by } else { date - by };
        let date = httpdate::fmt_http_date(date).parse().unwrap_or(HeaderValue::from_static(""));
        response.headers_mut().insert(header::DATE, date);
    }
    // The body is whole: its length is set anew.
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("seen", &self.seen.len()).field("date_shift", &self.date_shift).finish()
    }
}
