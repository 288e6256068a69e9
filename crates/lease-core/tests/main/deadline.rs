//! An answer that comes at the very deadline of its lease.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use lease_core::{Clock, LeaseClient, LeaseEvent, LeaseOptions, LossReason, Moment, Observer, Renewal, Sleep};
use tokio::{runtime::Builder, sync::watch};

use crate::support::{TTL, TroubledStore, within};

/// No step takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A clock that a test moves, and which is read by one thread just before it is moved.
#[derive(Debug, Clone)]
struct SteeredClock {
    now: watch::Sender<Moment>,
    slow_reader: Arc<Mutex<Option<SlowReader>>>,
}

#[derive(Debug)]
struct SlowReader {
    thread: ThreadId,
    reads: Moment,
    /// Where the clock is moved while this thread reads it, and what it then waits for.
    moves: Option<(Moment, Receiver<()>)>,
}

impl Clock for SteeredClock {
    fn now(&self) -> Moment {
        let mut slow_reader = self.slow_reader.lock().unwrap();
        let Some(reader) = slow_reader.as_mut().filter(|reader| reader.thread == thread::current().id()) else {
            return *self.now.borrow();
        };
        let (reads, moves) = (reader.reads, reader.moves.take());
        drop(slow_reader);
        if let Some((to, until)) = moves {
            self.now.send_replace(to);
            until.recv_timeout(PATIENCE).expect("the renewal task sees the deadline");
        }
        reads
    }

    fn sleep_until(&self, deadline: Moment) -> Sleep {
        let mut now = self.now.subscribe();
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= deadline).await;
        })
    }
}

/// Stops the renewal task between the ends of two leases until the second one has been renewed.
#[derive(Debug)]
struct BetweenTwoLosses {
    first_is_lost: Mutex<Sender<()>>,
    is_renewed: (Mutex<Sender<()>>, Mutex<Receiver<()>>),
    losses: watch::Sender<Vec<(String, LossReason)>>,
}

impl Observer for BetweenTwoLosses {
    fn observe(&self, event: &LeaseEvent) {
        match event {
            LeaseEvent::Renewed { .. } => self.is_renewed.0.lock().unwrap().send(()).unwrap(),
            LeaseEvent::Lost { name, reason, .. } => {
                let loss = (name.as_str().to_owned(), reason.clone());
                self.losses.send_modify(|losses| losses.push(loss));
                if name.as_str() == "first" {
                    self.first_is_lost.lock().unwrap().send(()).unwrap();
                    self.is_renewed.1.lock().unwrap().recv_timeout(PATIENCE).expect("the second lease is renewed");
                }
            }
            _ => {}
        }
    }
}

#[test]
fn s05_a_lease_that_is_renewed_as_its_deadline_passes_is_kept_in_view() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    runtime.block_on(async {
        let clock = SteeredClock { now: watch::Sender::new(Moment::from_origin(TTL)), slow_reader: Arc::default() };
        let ((lost, is_lost), (renewed, is_renewed)) = (channel(), channel());
        let losses = watch::Sender::new(Vec::new());
        let observer = BetweenTwoLosses {
            first_is_lost: Mutex::new(lost),
            is_renewed: (Mutex::new(renewed), Mutex::new(is_renewed)),
            losses: losses.clone(),
        };
        let store = TroubledStore::new();
        let client = LeaseClient::builder(store.clone()).clock(clock.clone()).observer(observer).build();
        let options = LeaseOptions::new(TTL).with_renewal(Renewal::Manual);
        let first = client.try_acquire("first", &options).await.unwrap().acquired().unwrap();
        let second = client.try_acquire("second", &options).await.unwrap().acquired().unwrap();
        let deadline = first.valid_until();
        assert_eq!(second.valid_until(), deadline);

        // The renewal is answered just before the deadline, and the task that watches it runs just then.
        store.close_gate();
        clock.now.send_replace(Moment::from_origin(TTL) + TTL / 2);
        let mut renewal = Box::pin(second.renew());
        while store.calls("renew").is_empty() {
            assert!(futures::poll!(&mut renewal).is_pending());
        }
        *clock.slow_reader.lock().unwrap() = Some(SlowReader {
            thread: thread::current().id(),
            reads: deadline - Duration::from_nanos(1),
            moves: Some((deadline, is_lost)),
        });
        store.open_gate();
        renewal.await.unwrap();
        *clock.slow_reader.lock().unwrap() = None;
        // On the only worker thread, behind the renewal task, which has then dealt with both leases.
        tokio::spawn(async {}).await.unwrap();
        assert!(!first.is_held());
        assert!(second.is_held());

        // Its new deadline is watched, though nobody asks.
        clock.now.send_replace(second.valid_until());
        let mut losses = losses.subscribe();
        let both = within(PATIENCE, losses.wait_for(|losses| losses.len() == 2)).await;
        assert!(both.is_some_and(|losses| losses.is_ok()), "nobody has seen the second loss");
        let expired = |name: &str| (name.to_owned(), LossReason::Expired);
        assert_eq!(*losses.borrow(), [expired("first"), expired("second")]);
    });
}
