//! The interface between the suite and a provider: how to open a store, and how to inject faults.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use lease_core::{Clock, FencingToken, LeaseName, LeaseStore, SystemClock};

/// A provider under test.
///
/// Each case gets a harness of its own, whose store is **empty**: a database, a schema or a key prefix that no other test
/// uses. Cases run in parallel, each in a runtime of its own.
///
/// Only [`Harness::store`] is required. Each fault returns [`Injection::Unsupported`] by default, which must agree with the
/// [capabilities](lease_core::Capabilities) of the store. Only a store that lives in the process of its test
/// ([`ExpiryJudge::Process`](lease_core::ExpiryJudge)) may leave out [`freeze`](Self::freeze), [`cut`](Self::cut),
/// [`restart`](Self::restart), [`lose_answers`](Self::lose_answers) and [`delay_answers`](Self::delay_answers): for every
/// other store the suite fails without them. [`set_clock_back`](Self::set_clock_back), [`lock_record`](Self::lock_record) and
/// [`answer_swap`](Self::answer_swap) are optional.
///
/// A method that cannot inject a fault which it supports panics; the case then fails.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Opens a store as another process would: it has the same leases, and shares no connection and no memory with the
    /// stores opened before.
    async fn store(&self) -> Arc<dyn LeaseStore>;

    /// Returns the clock of the test and of its clients. Under paused time this is a
    /// [`TokioClock`](lease_core::TokioClock).
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    /// Returns the shortest reliable ttl for tests: within the limits of the store, and long enough that renewals come in time
    /// on a busy machine. A suite on a real server takes about forty times as long.
    fn ttl(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Returns whether commits are so slow that the loser of a race may get
    /// [`Unavailable`](lease_core::ErrorKind::Unavailable), because the record is locked, in place of the holder.
    fn commits_slowly(&self) -> bool {
        false
    }

    /// Returns how late an event may be observed on a busy machine. The suite adds this to each deadline.
    fn tolerance(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Stops the server from answering, with its connections left open (SIGSTOP).
    async fn freeze(&self) -> Injection {
        Injection::Unsupported
    }

    /// Ends [`Harness::freeze`].
    async fn thaw(&self) {}

    /// Cuts the network to the server: connections break, and new ones fail.
    async fn cut(&self) -> Injection {
        Injection::Unsupported
    }

    /// Drops the answers of the server until [`Harness::heal`]. The server still receives and executes requests, and
    /// connections stay open.
    async fn lose_answers(&self) -> Injection {
        Injection::Unsupported
    }

    /// Delays each answer of the server by `delay` until [`Harness::heal`].
    async fn delay_answers(&self, delay: Duration) -> Injection {
        let _ = delay;
        Injection::Unsupported
    }

    /// Delays each request on its way to the server by `delay` until [`Harness::heal`]. Required of a store that declares
    /// [`extends_late_renewals`](lease_core::Capabilities::extends_late_renewals).
    async fn delay_requests(&self, delay: Duration) -> Injection {
        let _ = delay;
        Injection::Unsupported
    }

    /// Ends [`Harness::cut`], [`Harness::lose_answers`], [`Harness::delay_answers`] and [`Harness::delay_requests`].
    async fn heal(&self) {}

    /// Sets the wall clock of all server processes back by `by`, compared with the right time. Zero restores the right time.
    /// Implement it where this clock [judges expiry](lease_core::ExpiryJudge::ServerWallClock).
    async fn set_clock_back(&self, by: Duration) -> Injection {
        let _ = by;
        Injection::Unsupported
    }

    /// Stops the server and starts it again on its data. Returns when it answers.
    async fn restart(&self) -> Injection {
        Injection::Unsupported
    }

    /// Kills the server at once and starts it again on its data. Returns when it answers. Required of a store that declares
    /// [`grants_survive_crash`](lease_core::Capabilities::grants_survive_crash). Configure the server as the documentation of
    /// the store says.
    async fn crash(&self) -> Injection {
        Injection::Unsupported
    }

    /// Copies the data of the store, for [`Harness::restore_backup`]. Required of a store whose tokens
    /// [survive a loss of data](lease_core::TokensSurvive::data_loss).
    async fn back_up(&self) -> Injection {
        Injection::Unsupported
    }

    /// Replaces the data of the store with the copy that [`Harness::back_up`] made.
    async fn restore_backup(&self) {}

    /// Locks the record of this name, as other software would. Creates a missing record, invisible to others until the lock
    /// [commits](RecordLock::commit). Returns `None` where other software cannot lock a record.
    async fn lock_record(&self, name: &LeaseName) -> Option<Box<dyn RecordLock>> {
        let _ = name;
        None
    }

    /// Opens a store like [`Harness::store`], over a network that can swap the answers of two calls. Returns `None` where this
    /// is impossible, for example because the protocol numbers its calls.
    async fn answer_swap(&self) -> Option<Box<dyn AnswerSwap>> {
        None
    }

    /// Deletes the record of this name without the library, held or not.
    async fn remove_record(&self, name: &LeaseName) -> Injection {
        let _ = name;
        Injection::Unsupported
    }

    /// Cleans up what dropping the harness does not: stops servers, drops schemas. Called after a case that passed.
    async fn stop(&self) {}
}

/// A record that other software has locked; see [`Harness::lock_record`]. Changes are invisible to others until
/// [`RecordLock::commit`].
#[async_trait]
pub trait RecordLock: Send {
    /// Grants the lease to another holder for an hour. Returns the token, which is greater than each token that was granted
    /// before this call.
    async fn take_over(&mut self) -> FencingToken;

    /// Deletes the record.
    async fn delete(&mut self);

    /// Commits the changes and unlocks the record.
    async fn commit(self: Box<Self>);
}

/// A store over a network that can swap the answers of two calls; see [`Harness::answer_swap`].
pub trait AnswerSwap: Send + Sync {
    /// Returns the store.
    fn store(&self) -> Arc<dyn LeaseStore>;

    /// Swaps the next two answers: each goes to the call of the other. The first answer waits for the second.
    fn swap_next(&self);

    /// Returns whether two answers were swapped since the last [`AnswerSwap::swap_next`].
    fn has_swapped(&self) -> bool;
}

/// Whether a fault was injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an unsupported fault was not injected"]
#[non_exhaustive]
pub enum Injection {
    /// The fault was injected.
    Done,
    /// This harness cannot inject this fault.
    Unsupported,
}

/// A function that makes a [`Harness`], `async` or not: `MemoryHarness::new`, `PostgresHarness::start`. The compiler infers
/// `Kind`, which distinguishes the two.
pub trait MakeHarness<Kind> {
    /// The harness.
    type Harness: Harness;

    /// Makes a harness, within the runtime of the case.
    fn make(self) -> impl Future<Output = Self::Harness>;
}

/// The kind of a [`MakeHarness`] that returns a harness.
#[derive(Debug)]
pub struct ReturnsHarness;

/// The kind of a [`MakeHarness`] that returns a future of a harness.
#[derive(Debug)]
pub struct ReturnsFuture;

impl<F: FnOnce() -> H, H: Harness> MakeHarness<ReturnsHarness> for F {
    type Harness = H;

    async fn make(self) -> H {
        self()
    }
}

impl<F: FnOnce() -> W, W: Future<Output: Harness>> MakeHarness<ReturnsFuture> for F {
    type Harness = W::Output;

    async fn make(self) -> W::Output {
        self().await
    }
}
