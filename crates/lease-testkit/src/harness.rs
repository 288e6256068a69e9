//! What the suite needs to know of a provider, and of the harm that can be done to it.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use lease_core::{Clock, FencingToken, LeaseName, LeaseStore, SystemClock};

/// A provider on the test bench. Each case gets a harness of its own, whose store is **empty**: a database, a schema or a
/// key prefix that nobody else uses. Cases run in parallel, each in a runtime of its own.
///
/// Only [`Harness::store`] must be written. The faults say [`Harm::CannotDo`] by default. That must agree with the store's
/// capabilities: only a store that lives in the process of its test ([`ExpiryJudge::Process`](lease_core::ExpiryJudge))
/// cannot be frozen, cut, restarted or have its answers lost or delayed, and the suite fails a store with a server whose
/// harness does not try. What no capability asks for is optional: [`Harness::set_clock_back`] and [`Harness::hold`].
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// A store as one more process would open it: same leases, nothing else in common.
    async fn store(&self) -> Arc<dyn LeaseStore>;

    /// The clock of the test and of its clients. A store that runs under paused time has [`TokioClock`](lease_core::TokioClock).
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    /// The shortest ttl on which tests can rely: within the store's limits, and long enough that a busy machine does not
    /// miss a renewal. A suite on real servers takes some forty times as long.
    fn ttl(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Whether commits take so long that who loses a race may be told that the name is locked, rather than by whom it is held.
    fn commits_slowly(&self) -> bool {
        false
    }

    /// How much later than it should something may be seen to happen, on a busy machine.
    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// The server stops answering; connections stay open (SIGSTOP).
    async fn freeze(&self) -> Harm {
        Harm::CannotDo
    }

    /// The end of [`Harness::freeze`].
    async fn thaw(&self) {}

    /// The network to the server is cut: connections break, and none can be made.
    async fn cut(&self) -> Harm {
        Harm::CannotDo
    }

    /// Requests reach the server and are done, their answers are lost; connections stay open until [`Harness::heal`].
    async fn lose_answers(&self) -> Harm {
        Harm::CannotDo
    }

    /// Answers arrive this much later than they were sent, until [`Harness::heal`].
    async fn delay_answers(&self, delay: Duration) -> Harm {
        let _ = delay;
        Harm::CannotDo
    }

    /// The end of [`Harness::cut`], [`Harness::lose_answers`] and [`Harness::delay_answers`].
    async fn heal(&self) {}

    /// The server's wall clock shows so much less than the right time from now on, under all of its processes. Zero: the right
    /// time again. Worth while where it [judges expiry](lease_core::ExpiryJudge::ServerWallClock).
    async fn set_clock_back(&self, by: Duration) -> Harm {
        let _ = by;
        Harm::CannotDo
    }

    /// The server is stopped and started again, with what it has kept. Returns when it answers.
    async fn restart(&self) -> Harm {
        Harm::CannotDo
    }

    /// The server is killed, at whatever it is at, and started again with what it has kept. Returns when it answers. Needed
    /// where [`grants_survive_crash`](lease_core::Capabilities::grants_survive_crash); set the server up as the store's page says.
    async fn crash(&self) -> Harm {
        Harm::CannotDo
    }

    /// What the store has kept is copied, so that [`Harness::put_back`] can bring it back. Needed where tokens
    /// [survive a loss of data](lease_core::TokensSurvive::data_loss).
    async fn back_up(&self) -> Harm {
        Harm::CannotDo
    }

    /// The copy that [`Harness::back_up`] made is all that there is.
    async fn put_back(&self) {}

    /// Locks the record of this name, as other software would; one that is not there yet is made, and seen by nobody. `None`:
    /// nobody can.
    async fn hold(&self, name: &LeaseName) -> Option<Box<dyn Hold>> {
        let _ = name;
        None
    }

    /// A store as [`Harness::store`] opens it, over a network that can give the answers to two of its calls to each other. `None`:
    /// nobody can, for example because the protocol numbers its calls.
    async fn mixed_up(&self) -> Option<Box<dyn MixedUp>> {
        None
    }

    /// The record of this name is deleted behind the library's back, held or not.
    async fn remove_record(&self, name: &LeaseName) -> Harm {
        let _ = name;
        Harm::CannotDo
    }

    /// Undoes what cannot be undone by dropping the harness: stops servers, drops schemas. Called after a case that passed.
    async fn stop(&self) {}
}

/// A record that other software has locked; see [`Harness::hold`]. Nobody sees what it does to it before it lets go.
#[async_trait]
pub trait Hold: Send {
    /// Grants the lease to somebody else for an hour, with a token that is greater than all that were granted before now.
    async fn take_over(&mut self) -> FencingToken;

    /// Deletes the record.
    async fn delete(&mut self);

    /// What was done counts, and the record is not locked any more.
    async fn let_go(self: Box<Self>);
}

/// A store whose network can give answers to the wrong calls; see [`Harness::mixed_up`].
pub trait MixedUp: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn LeaseStore>;

    /// The next two answers go to each other's calls. The first one waits for the second.
    fn mix_up(&self);

    /// Whether that was done.
    fn is_done(&self) -> bool;
}

/// Whether a fault was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Harm {
    /// It was.
    Done,
    /// This provider has no such fault.
    CannotDo,
}

/// A function that makes a [`Harness`], at once or after some waiting: `MemoryHarness::new`, `PostgresHarness::start`.
/// `Kind` tells the two apart and is always inferred.
pub trait MakeHarness<Kind> {
    /// What it makes.
    type Harness: Harness;

    /// Makes one, within the runtime of the case.
    fn make(self) -> impl Future<Output = Self::Harness>;
}

/// A [`MakeHarness`] that returns a harness.
#[derive(Debug)]
pub struct AtOnce;

/// A [`MakeHarness`] that returns a future.
#[derive(Debug)]
pub struct AfterWaiting;

impl<F: FnOnce() -> H, H: Harness> MakeHarness<AtOnce> for F {
    type Harness = H;

    async fn make(self) -> H {
        self()
    }
}

impl<F: FnOnce() -> W, W: Future<Output: Harness>> MakeHarness<AfterWaiting> for F {
    type Harness = W::Output;

    async fn make(self) -> W::Output {
        self().await
    }
}
