//! All interleavings of concurrent operations on the latch of a lease. Loom runs the source file of `lease-core` itself, with
//! loom's types in place of those in its `sync.rs`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    slice,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lease_core::{Clock, LeaseState, LossReason, Moment, Sleep};
use loom::{
    sync::atomic::{AtomicBool, AtomicU64},
    thread::{self, JoinHandle},
};

use crate::{
    latch::{Extended, Latch},
    sync::watch,
};

#[path = "../../../crates/lease-core/src/grant/latch.rs"]
mod latch;

/// Loom's types in place of those of std and tokio.
mod sync {
    pub(crate) use loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };

    /// The part of tokio's `watch` that the latch needs: a value behind a lock, without wake-ups.
    pub(crate) mod watch {
        use std::sync::Arc;

        use loom::sync::{RwLock, RwLockReadGuard};

        #[derive(Clone)]
        pub(crate) struct Sender<T>(Arc<RwLock<T>>);

        pub(crate) struct Receiver<T>(Arc<RwLock<T>>);

        pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
            let sender = Sender(Arc::new(RwLock::new(value)));
            let receiver = sender.subscribe();
            (sender, receiver)
        }

        impl<T> Sender<T> {
            pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
                modify(&mut self.0.write().unwrap())
            }

            pub(crate) fn borrow(&self) -> RwLockReadGuard<'_, T> {
                self.0.read().unwrap()
            }

            pub(crate) fn subscribe(&self) -> Receiver<T> {
                Receiver(Arc::clone(&self.0))
            }
        }

        impl<T> Receiver<T> {
            pub(crate) fn borrow(&self) -> RwLockReadGuard<'_, T> {
                self.0.read().unwrap()
            }
        }
    }
}

/// A clock that one of the threads sets.
#[derive(Debug, Clone)]
struct Seconds(Arc<AtomicU64>);

impl Clock for Seconds {
    fn now(&self) -> Moment {
        second(self.0.load(Ordering::Acquire))
    }

    fn sleep_until(&self, _: Moment) -> Sleep {
        Box::pin(std::future::pending())
    }
}

const fn second(second: u64) -> Moment {
    Moment::from_origin(Duration::from_secs(second))
}

/// A latch that is held until second 10, and its reports.
#[derive(Clone)]
struct Lease {
    clock: Seconds,
    latch: Arc<Latch>,
    reported: Arc<Mutex<Vec<LossReason>>>,
}

impl Lease {
    fn new() -> Self {
        let clock = Seconds(Arc::new(AtomicU64::new(1)));
        let latch = Arc::new(Latch::new(Arc::new(clock.clone()), None, second(10)));
        Self { clock, latch, reported: Arc::default() }
    }

    fn report(&self) -> impl Fn(LossReason) {
        |reason| self.reported.lock().unwrap().push(reason)
    }

    fn is_held(&self) -> bool {
        self.latch.is_held(self.report())
    }

    /// Runs work on another thread.
    fn spawn<T: 'static>(&self, work: impl FnOnce(&Self) -> T + 'static) -> JoinHandle<T> {
        let lease = self.clone();
        thread::spawn(move || work(&lease))
    }

    /// Starts a thread that reads the state several times: a loss is final.
    fn spawn_reader(&self) -> JoinHandle<()> {
        self.spawn(|lease| {
            let mut lost = None;
            for _ in 0..2 {
                let is_held = lease.is_held();
                assert!(!(is_held && lost.is_some()), "held after it was lost");
                if !is_held {
                    let LeaseState::Lost(reason) = lease.latch.state() else { panic!("neither held nor lost") };
                    assert_eq!(*lost.get_or_insert_with(|| reason.clone()), reason, "the reason has changed");
                    assert_eq!(lease.latch.valid_until(), second(0), "lost, but valid");
                }
            }
        })
    }

    fn spawn_watcher(&self) -> JoinHandle<watch::Receiver<LeaseState>> {
        self.spawn(|lease| {
            lease.is_held();
            lease.latch.subscribe()
        })
    }

    fn time_passes(&self, until: u64) -> JoinHandle<()> {
        self.spawn(move |lease| lease.clock.0.store(until, Ordering::Release))
    }

    fn lose(&self, reason: LossReason) -> JoinHandle<()> {
        self.spawn(move |lease| lease.latch.lose(reason, lease.report()))
    }

    fn extend(&self, until: u64) -> JoinHandle<Extended> {
        self.spawn(move |lease| lease.latch.extend(second(until), lease.report()))
    }

    /// Returns the reason of the loss, which was reported exactly once.
    fn assert_lost(&self) -> LossReason {
        assert!(!self.is_held());
        let LeaseState::Lost(reason) = self.latch.state() else { panic!("neither held nor lost") };
        assert_eq!(
            *self.reported.lock().unwrap(),
            slice::from_ref(&reason),
            "the loss that counts is reported once (L6)"
        );
        reason
    }

    fn assert_held_until(&self, until: u64) {
        assert!(self.is_held());
        assert_eq!(self.latch.valid_until(), second(until));
        assert_eq!(*self.reported.lock().unwrap(), []);
    }
}

/// Runs a case in every interleaving, of which there must be at least `at_least`.
fn in_every_interleaving(at_least: usize, case: impl Fn(Lease) + Send + Sync + 'static) {
    let interleavings = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&interleavings);
    loom::model::Builder::new().check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        case(Lease::new());
    });
    let interleavings = interleavings.load(Ordering::Relaxed);
    println!("{interleavings} interleavings");
    assert!(interleavings >= at_least, "too few interleavings for a result: {interleavings}");
}

fn join_all<const N: usize>(threads: [JoinHandle<()>; N]) {
    for thread in threads {
        thread.join().unwrap();
    }
}

const EXTENDED: Extended = Extended::Held { recovered: false };

#[test]
fn s04_a_concurrent_expiry_and_renewal() {
    in_every_interleaving(100, |lease| {
        let (time, reader, renewal) = (lease.time_passes(10), lease.spawn_reader(), lease.extend(30));
        join_all([time, reader]);
        match renewal.join().unwrap() {
            Extended::Lost => assert_eq!(lease.assert_lost(), LossReason::Expired),
            extended => {
                assert_eq!(extended, EXTENDED);
                lease.assert_held_until(30);
            }
        }
    });
}

#[test]
fn s04_an_unobserved_expiry_is_final() {
    in_every_interleaving(2, |lease| {
        lease.time_passes(10).join().unwrap();
        let renewals = [lease.extend(30), lease.extend(40)];
        assert_eq!(renewals.map(|renewal| renewal.join().unwrap()), [Extended::Lost; 2]);
        assert_eq!(lease.assert_lost(), LossReason::Expired);
    });
}

#[test]
fn s08_answers_in_any_order_never_move_the_deadline_back() {
    in_every_interleaving(10, |lease| {
        let reader = lease.spawn(|lease| {
            let (earlier, later) = (lease.latch.valid_until(), lease.latch.valid_until());
            assert!(earlier <= later, "moved back from {earlier:?} to {later:?}");
        });
        let renewals = [lease.extend(20), lease.extend(30)];
        assert_eq!(renewals.map(|renewal| renewal.join().unwrap()), [EXTENDED; 2]);
        reader.join().unwrap();
        lease.assert_held_until(30);
    });
}

#[test]
fn l06_only_the_first_of_several_losses_is_reported() {
    in_every_interleaving(100, |lease| {
        let losses = [lease.lose(LossReason::Broken), lease.lose(LossReason::Released), lease.spawn_reader()];
        join_all(losses);
        assert!([LossReason::Broken, LossReason::Released].contains(&lease.assert_lost()));
    });
}

#[test]
fn l06_a_concurrent_loss_expiry_and_renewal() {
    in_every_interleaving(100, |lease| {
        let (loss, time, renewal) = (lease.lose(LossReason::Broken), lease.time_passes(10), lease.extend(30));
        join_all([loss, time]);
        let extended = renewal.join().unwrap();
        let reason = lease.assert_lost();
        assert!([LossReason::Broken, LossReason::Expired].contains(&reason));
        assert!(extended == Extended::Lost || reason == LossReason::Broken, "extended, but expired");
    });
}

#[test]
fn l09_a_warning_never_hides_a_loss() {
    in_every_interleaving(100, |lease| {
        let warning = lease.spawn(|lease| {
            let until = lease.latch.endanger();
            assert!([None, Some(second(10)), Some(second(30))].contains(&until), "{until:?}");
        });
        let (loss, renewal) = (lease.lose(LossReason::Released), lease.extend(30));
        join_all([warning, loss]);
        renewal.join().unwrap();
        assert_eq!(lease.assert_lost(), LossReason::Released);
    });
}

/// The first subscription moves the state into a channel.
#[test]
fn s04_an_expiry_and_a_renewal_concurrent_with_a_subscription() {
    in_every_interleaving(100, |lease| {
        let (time, watcher, renewal) = (lease.time_passes(10), lease.spawn_watcher(), lease.extend(30));
        time.join().unwrap();
        let states = watcher.join().unwrap();
        if renewal.join().unwrap() != Extended::Lost {
            lease.assert_held_until(30);
            lease.lose(LossReason::Released).join().unwrap();
        }
        let reason = lease.assert_lost();
        assert_eq!(*states.borrow(), LeaseState::Lost(reason));
    });
}

#[test]
fn l06_a_subscription_concurrent_with_a_loss_gets_the_loss() {
    in_every_interleaving(100, |lease| {
        let (loss, watchers) = (lease.lose(LossReason::Broken), [(); 2].map(|()| lease.spawn_watcher()));
        let watched = watchers.map(|watcher| watcher.join().unwrap());
        loss.join().unwrap();
        assert_eq!(lease.assert_lost(), LossReason::Broken);
        for states in watched {
            assert_eq!(*states.borrow(), LeaseState::Lost(LossReason::Broken));
        }
    });
}

/// A thread that observes the release in the store finds the guard lost.
#[test]
fn s12_the_guard_is_lost_before_the_store_is_released() {
    in_every_interleaving(10, |lease| {
        let told = Arc::new(AtomicBool::new(false));
        let release = lease.spawn({
            let told = Arc::clone(&told);
            move |lease| {
                lease.latch.lose(LossReason::Released, lease.report());
                told.store(true, Ordering::Release);
            }
        });
        let rival = lease.spawn(move |lease| {
            if told.load(Ordering::Acquire) {
                assert!(!lease.is_held(), "held although a rival may hold it");
            }
        });
        let renewal = lease.extend(30);
        join_all([release, rival]);
        renewal.join().unwrap();
        assert_eq!(lease.assert_lost(), LossReason::Released);
    });
}
