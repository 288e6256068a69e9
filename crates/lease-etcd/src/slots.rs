//! The connections of a store, one per runtime.

use etcd_client::Client;
use futures::future::{BoxFuture, Shared};
use lease_core::Moment;
use tokio::runtime;

use crate::error::Failure;

/// The driver's client. It keeps its login when it is moved to another endpoint.
#[derive(Clone)]
pub(crate) struct Driver {
    pub(crate) client: Client,
    /// The number of the connection, and the endpoint, that the client is attached to.
    pub(crate) attached: Option<(u64, String)>,
}

impl Driver {
    pub(crate) fn is_attached_to(&self, number: u64) -> bool {
        self.attached.as_ref().is_some_and(|(attached, _)| *attached == number)
    }
}

/// A connection that is being made, or is made, shared by all calls that wait for it.
pub(crate) type SharedConnect = Shared<BoxFuture<'static, Result<Client, Failure>>>;

/// The connection of one runtime.
pub(crate) struct Slot {
    pub(crate) runtime: runtime::Id,
    pub(crate) number: u64,
    pub(crate) endpoint: usize,
    pub(crate) client: Option<SharedConnect>,
    pub(crate) driver: Option<Driver>,
    pub(crate) has_login: bool,
    /// The number of logins that were given up.
    pub(crate) login: u64,
    /// The number of attempts to connect that failed in a row.
    failures: u32,
    pub(crate) last_failure: Option<Failure>,
    /// No attempt to connect is made before this moment.
    pub(crate) not_before: Option<Moment>,
}

impl Slot {
    pub(crate) fn is_connecting(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.peek().is_none())
    }
}

/// The connections of a store. Each runtime has its own: a connection lives by the tasks of the runtime on which it was made,
/// and another runtime cannot rely on these being run.
#[derive(Default)]
pub(crate) struct Slots {
    /// The endpoint of the next connection.
    pub(crate) endpoint: usize,
    last_number: u64,
    /// The slots, the most recently used one last.
    pub(crate) slots: Vec<Slot>,
}

/// The maximum number of runtimes with a connection. Beyond it, the runtime whose last call is the oldest loses its
/// connection.
const MAX_RUNTIMES: usize = 64;

impl Slots {
    pub(crate) fn starting_at(endpoint: usize) -> Self {
        Self { endpoint, ..Self::default() }
    }

    /// Records that a connection was made.
    pub(crate) fn connected(&mut self, runtime: runtime::Id, number: u64, driver: Driver) {
        if let Some(slot) = self.find(runtime, number) {
            (slot.failures, slot.last_failure, slot.not_before) = (0, None, None);
            (slot.driver, slot.has_login) = (Some(driver), true);
        }
    }

    /// Records that a connection could not be made. The next attempt goes to the next endpoint, and begins no earlier than
    /// the moment that `not_before` returns for the number of earlier failures.
    pub(crate) fn failed(
        &mut self,
        runtime: runtime::Id,
        number: u64,
        failure: Failure,
        driver: Option<Driver>,
        not_before: impl Fn(u32) -> Moment,
    ) {
        if let Some(slot) = self.find(runtime, number) {
            slot.not_before = Some(not_before(slot.failures));
            slot.failures += 1;
            slot.last_failure = Some(failure);
            slot.driver = driver;
            slot.client = None;
        }
        self.leave(number);
    }

    fn find(&mut self, runtime: runtime::Id, number: u64) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.runtime == runtime && slot.number == number)
    }

    /// Uses the connection with this number for no further calls. Returns its endpoint, if it was in use.
    pub(crate) fn leave(&mut self, number: u64) -> Option<usize> {
        let slot = self.slots.iter_mut().find(|slot| slot.number == number)?;
        if slot.is_connecting() {
            // A login on this connection is in flight; its outcome decides.
            return None;
        }
        self.last_number += 1;
        slot.number = self.last_number;
        slot.client = None;
        if slot.endpoint == self.endpoint {
            self.endpoint += 1;
        }
        Some(slot.endpoint)
    }

    /// Returns the slot of this runtime, creates it if there is none, and marks it as the most recently used one.
    pub(crate) fn slot_of(&mut self, runtime: runtime::Id) -> &mut Slot {
        match self.slots.iter().position(|slot| slot.runtime == runtime) {
            Some(place) => self.slots[place..].rotate_left(1),
            None => {
                if self.slots.len() == MAX_RUNTIMES {
                    self.slots.remove(0);
                }
                self.last_number += 1;
                self.slots.push(Slot {
                    runtime,
                    number: self.last_number,
                    endpoint: self.endpoint,
                    client: None,
                    driver: None,
                    has_login: false,
                    login: 0,
                    failures: 0,
                    last_failure: None,
                    not_before: None,
                });
            }
        }
        let last = self.slots.len() - 1;
        &mut self.slots[last]
    }
}
