//! The server: documents, its clock, and faults. All stores of a test share it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use lease_core::{Clock, LeaseName};
use lease_document::{Changes, Document};
use tokio::sync::watch;

/// Half the time since the epoch, so that the clock can be set back by decades.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Get,
    Put,
    List,
    Delete,
    Clock,
}

#[derive(Debug, Clone)]
pub struct Bed {
    pub clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    frozen: watch::Sender<bool>,
    /// The number of cuts so far, each of which breaks all connections.
    cuts: watch::Sender<u64>,
    pub changes: Changes,
}

#[derive(Debug, Default)]
pub struct State {
    pub documents: BTreeMap<LeaseName, Document>,
    /// What a stale read may show: the document before the last write, or none.
    pub before: BTreeMap<LeaseName, Option<Document>>,
    pub number: u64,
    pub requests: Vec<(Request, LeaseName)>,
    pub is_cut: bool,
    pub loses_answers: bool,
    pub answer_delay: Duration,
    pub request_delay: Duration,
    /// Answers to puts that break the connection, every n-th.
    pub breaks_every: usize,
    /// Puts that are repeated by the driver, every n-th, so that a write that was done is answered as a conflict.
    pub repeats_every: usize,
    pub puts: usize,
    /// Of 100 reads, so many are stale.
    pub stale_percent: u32,
    pub rng: u32,
    /// The feed of changes tells of no write.
    pub is_silent: bool,
    pub clock_back: Duration,
    pub clock_ahead: Duration,
    /// Every second answer is by a server whose clock is ahead by this.
    pub second_server_ahead: Duration,
    pub answers: u64,
    /// The next puts wait for this to become false; they are then executed, whether or not their caller waits.
    pub held_back: Option<watch::Receiver<bool>>,
}

impl Bed {
    pub fn new(clock: impl Clock) -> Self {
        let changes = Changes::new();
        changes.connected();
        Self {
            clock: Arc::new(clock),
            state: Arc::default(),
            frozen: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
            changes,
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn freeze(&self, is_frozen: bool) {
        self.frozen.send_replace(is_frozen);
    }

    pub fn cut(&self) {
        self.state().is_cut = true;
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub fn connection(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    pub async fn broken(connection: &mut watch::Receiver<u64>) {
        connection.changed().await.unwrap();
    }

    pub async fn thawed(&self) {
        let mut frozen = self.frozen.subscribe();
        frozen.wait_for(|is_frozen| !is_frozen).await.unwrap();
    }

    pub async fn sleep(&self, duration: Duration) {
        if duration.is_zero() {
            tokio::task::yield_now().await;
        } else {
            self.clock.sleep_until(self.clock.now() + duration).await;
        }
    }

    /// The requests since the last call, in order.
    pub fn take_requests(&self) -> Vec<Request> {
        self.state().requests.drain(..).map(|(request, _)| request).collect()
    }
}

impl State {
    /// What the clock of the server that answers shows.
    pub fn time(&mut self, clock: &dyn Clock) -> Duration {
        self.answers += 1;
        let ahead = if self.answers.is_multiple_of(2) { self.second_server_ahead } else { Duration::ZERO };
        EPOCH + clock.now().since_origin() + self.clock_ahead + ahead - self.clock_back
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng = self.rng.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.rng >> 16) % 100 < percent
    }
}
