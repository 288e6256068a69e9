//! The watch on all Leases of a store, by which waiters and holders get hints.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::{Either, select};
use http::StatusCode;
use http_body_util::{BodyExt, BodyStream};
use kube::client::Body;
use lease_core::{Clock, Error, ErrorKind, Moment, Result, SystemClock};
use lease_document::{Change, Changes};
use serde::Deserialize;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    STORE,
    error::{Verb, answered, no_number, unreadable},
    events::{Event, Lines},
    leases::{Call, Leases},
    names::Names,
    object::{number, selector},
    status::Status,
};

const WATCH: &str = "watch";

/// The API server ends a stream after this time, and the next one continues it. It bounds for how long a stream that is dead without
/// a sign stays unnoticed.
const STREAM_SECONDS: u64 = 60;
/// The time limit for the first answer, and for a stream beyond its end.
const PATIENCE: Duration = Duration::from_secs(10);

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// One stream for all names. The first subscription starts a task, which ends with the store.
pub(crate) struct Watch {
    watching: Watching,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone)]
struct Watching {
    leases: Leases,
    names: Names,
    changes: Changes,
    clock: Arc<dyn Clock>,
}

/// Why a stream has ended.
enum End {
    /// It is continued where it ended.
    Orderly,
    /// The history from where it was to continue is gone (410).
    Gone,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
}

impl Watch {
    pub(crate) fn new(leases: Leases, names: Names) -> Self {
        let watching = Watching { leases, names, changes: Changes::new(), clock: Arc::new(SystemClock) };
        Self { watching, task: Mutex::default() }
    }

    /// Returns the feed. Starts the task, unless it runs: its runtime may have ended. Outside of a runtime nobody can wait for a hint.
    pub(crate) fn changes(&self) -> Changes {
        if let Ok(runtime) = Handle::try_current() {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            if task.as_ref().is_none_or(JoinHandle::is_finished) {
                *task = Some(runtime.spawn(self.watching.clone().run()));
            }
        }
        self.watching.changes.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Watching {
    /// Watches for ever. Opens a new stream whenever one ends.
    async fn run(self) {
        let (mut position, mut backoff) = (None, FIRST_BACKOFF);
        let (mut is_connected, mut is_failing) = (false, false);
        loop {
            let began = self.clock.now();
            match self.stream(&mut position, &mut backoff, &mut is_connected).await {
                // It is continued without a loss. One that ends at once may do so again.
                Ok(End::Orderly) if self.clock.now().saturating_since(began) > FIRST_BACKOFF => continue,
                Ok(End::Orderly) => {}
                Ok(End::Gone) => {
                    tracing::debug!(target: "lease", "the watch of Leases begins anew: its history is gone");
                    self.changes.disconnected();
                    (position, is_connected) = (None, false);
                }
                Err(error) => {
                    is_failing &= !is_connected;
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            target: "lease",
                            store = crate::STORE,
                            %error,
                            "the watch of Leases is interrupted: until it is back, waiters poll, and holders observe a loss at the \
                             next renewal"
                        );
                    }
                    self.changes.disconnected();
                    is_connected = false;
                }
            }
            // Not all processes at once.
            self.clock.sleep_until(self.clock.now() + backoff.mul_f64(rand::random_range(0.5..1.0))).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    /// Passes on the events of one stream.
    async fn stream(
        &self,
        position: &mut Option<String>,
        backoff: &mut Duration,
        is_connected: &mut bool,
    ) -> Result<End> {
        let soon = self.clock.now() + PATIENCE;
        let from = match position.take() {
            Some(position) => position,
            None => self.within(soon, current_version(&self.leases, &self.names)).await?,
        };
        let call = Call::new(WATCH, Verb::Watch).query(&format!(
            "{}&watch=1&allowWatchBookmarks=true&timeoutSeconds={STREAM_SECONDS}&resourceVersion={from}",
            selector(&self.names)
        ));
        *position = Some(from);
        let (head, body) = self.within(soon, self.leases.send(&call)).await?.into_parts();
        match head.status {
            StatusCode::OK => {}
            StatusCode::GONE => return Ok(End::Gone),
            code => return Err(self.within(soon, self.refused(code, body)).await.err().unwrap_or_else(silent)),
        }
        if !std::mem::replace(is_connected, true) {
            self.changes.connected();
        }
        let end = self.clock.now() + Duration::from_secs(STREAM_SECONDS) + PATIENCE;
        let (mut body, mut lines) = (BodyStream::new(body), Lines::default());
        loop {
            let frame = self.within(end, async { Ok(futures::StreamExt::next(&mut body).await) }).await?;
            let Some(frame) = frame else { return Ok(End::Orderly) };
            let context = self.leases.context(WATCH, Verb::Watch);
            let frame = frame.map_err(|error| unreadable(context, &error))?;
            let Ok(data) = frame.into_data() else { continue };
            lines.push(&data);
            while let Some(line) = lines.next() {
                let event = Event::parse(&line).map_err(|error| unreadable(context, &error))?;
                if let Event::Error(status) = event {
                    if status.code == StatusCode::GONE.as_u16() {
                        return Ok(End::Gone);
                    }
                    return Err(answered(context, status.code, None, &status));
                }
                *position = Some(event.position().to_owned());
                *backoff = FIRST_BACKOFF;
                self.pass_on(&event);
            }
            if lines.is_too_long() {
                return Err(silent());
            }
        }
    }

    async fn refused(&self, code: StatusCode, body: Body) -> Result<()> {
        let context = self.leases.context(WATCH, Verb::Watch);
        let body = http_body_util::Limited::new(body, 1024 * 1024).collect().await;
        let status = body.map(|body| Status::parse(&body.to_bytes())).unwrap_or_default();
        Err(answered(context, code.as_u16(), None, &status))
    }

    fn pass_on(&self, event: &Event) {
        let (object, is_deleted) = match event {
            Event::Written(object) => (object, false),
            Event::Deleted(object) => (object, true),
            Event::Bookmark(_) | Event::Error(_) => return,
        };
        let Some(name) = object.lease(&self.names) else { return };
        match object.document() {
            _ if is_deleted => self.changes.notify(&name, Change::Deleted),
            Ok(document) => match &document.foreign {
                Some(foreign) => self.changes.notify(&name, Change::Foreign(foreign)),
                None => self.changes.notify(&name, Change::Written(&document.value)),
            },
            Err(_) => self.changes.notify(&name, Change::Unknown),
        }
    }

    async fn within<T>(&self, limit: Moment, future: impl Future<Output = Result<T>>) -> Result<T> {
        match select(std::pin::pin!(future), self.clock.sleep_until(limit)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(silent()),
        }
    }
}

/// Returns the moment in the history of the cluster from which to watch.
pub(crate) async fn current_version(leases: &Leases, names: &Names) -> Result<String> {
    let call = Call::new(WATCH, Verb::List).query(&format!("{}&limit=1", selector(names)));
    let answer = leases.call(&call).await?;
    if answer.code != StatusCode::OK {
        return Err(leases.failed(&call, &answer));
    }
    let list: List = leases.read(&call, &answer)?;
    let version = list.metadata.resource_version;
    match number(&version) {
        Ok(_) => Ok(version),
        Err(error) => Err(no_number(WATCH, &error)),
    }
}

fn silent() -> Error {
    Error::new(ErrorKind::Unavailable, WATCH, "the API server has sent nothing in time, or a line without an end")
        .in_store(STORE)
}
