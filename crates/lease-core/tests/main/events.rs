//! What observers are told.

#![allow(clippy::disallowed_methods, reason = "the clock of the test is that of its paused runtime")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use lease_core::{
    AttemptOutcome, Break, Correlation, ErrorKind, HolderId, LeaseClient, LeaseEvent, LeaseOptions, LossReason,
    Metadata, Observer, Released, TryAcquired, WaitOutcome,
};
use lease_testkit::LogCapture;
use tokio::time::sleep;
use tracing::Level;

use crate::support::{TTL, TroubledStore, builder, client, drop_after, pass, settle};

#[derive(Debug, Clone, Default)]
struct Events(Arc<Mutex<Vec<LeaseEvent>>>);

impl Observer for Events {
    fn observe(&self, event: &LeaseEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Events {
    fn of<T>(&self, select: impl Fn(&LeaseEvent) -> Option<T>) -> Vec<T> {
        self.0.lock().unwrap().iter().filter_map(select).collect()
    }

    fn waits(&self) -> Vec<WaitOutcome> {
        self.of(|event| match event {
            LeaseEvent::WaitEnded { outcome, .. } => Some(*outcome),
            _ => None,
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_was_waited_for_says_how_long_and_how_often_it_was_asked_for() {
    let store = TroubledStore::new();
    let (first, events) = (client(&store), Events::default());
    let holder = HolderId::new("b").unwrap();
    let second = builder(&store).observer(events.clone()).build();
    let held = first.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let waiting = tokio::spawn({
        let (second, options) = (second.clone(), LeaseOptions::new(TTL).with_holder(holder.clone()));
        async move { second.acquire("job", options).await }
    });
    settle().await;
    pass(Duration::from_millis(900)).await;
    held.release().await.unwrap();
    let lease = waiting.await.unwrap().unwrap();
    let grants = events.of(|event| match event {
        LeaseEvent::Granted { name, holder, token, waited, attempts, .. } => {
            Some((name.clone(), holder.clone(), *token, *waited, *attempts))
        }
        _ => None,
    });
    let [(name, by, token, waited, attempts)] = &grants[..] else { panic!("unexpected answer: {grants:?}") };
    assert_eq!((name, by, *token), (lease.name(), &holder, lease.token()));
    assert!(*waited >= Duration::from_millis(900) && *waited < Duration::from_secs(2), "{waited:?}");
    // The first one, one when it stands in line, and the one that wins.
    assert!((2..=3).contains(attempts), "{attempts}");
    assert_eq!(events.waits(), [WaitOutcome::Won]);

    pass(Duration::from_secs(5)).await;
    let token = lease.token();
    lease.release().await.unwrap();
    let ends = events.of(|event| match event {
        LeaseEvent::Lost { reason, held_for, holder, .. } => {
            assert_eq!((reason, holder), (&LossReason::Released, &holder.clone()));
            Some(*held_for)
        }
        LeaseEvent::Released { token: of, outcome, took, .. } => {
            assert_eq!((*of, outcome.as_ref().unwrap()), (Some(token), &Released::Freed));
            Some(*took)
        }
        _ => None,
    });
    assert!(ends[0] >= Duration::from_secs(5) && ends[1] < Duration::from_secs(1), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ends_says_how() {
    let store = TroubledStore::new();
    let (first, events) = (client(&store), Events::default());
    let second = builder(&store).observer(events.clone()).build();
    let _held = first.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let limit = LeaseOptions::new(TTL).with_wait_limit(Duration::from_secs(3));
    assert_eq!(second.acquire("job", limit).await.unwrap_err().kind(), ErrorKind::WaitLimit);
    assert_eq!(events.waits(), [WaitOutcome::LimitPassed]);
    assert!(!drop_after(40, second.acquire("job", TTL)).await);
    assert_eq!(events.waits()[1..], [WaitOutcome::Dropped]);
    let waiting = tokio::spawn({
        let second = second.clone();
        async move { second.acquire("job", TTL).await }
    });
    settle().await;
    second.close().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(events.waits()[2..], [WaitOutcome::Closed]);
    assert!(first.try_acquire("free", TTL).await.unwrap().is_acquired(), "it did not wait");
    assert_eq!(events.waits().len(), 3);
}

/// One line for each end of a call: a grant, or the reason why there is none.
fn ends(events: &Events) -> Vec<String> {
    events.of(|event| match event {
        LeaseEvent::Granted { name, attempts, .. } => Some(format!("{name}: granted, {attempts}")),
        LeaseEvent::NotAcquired { name, reason, attempts, .. } => Some(format!("{name}: {reason:?}, {attempts}")),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn each_call_ends_with_one_event() {
    let (store, events) = (TroubledStore::new(), Events::default());
    let (first, client) = (client(&store), builder(&store).observer(events.clone()).build());
    let _held = first.try_acquire("held", TTL).await.unwrap().acquired().unwrap();
    assert!(!client.try_acquire("held", TTL).await.unwrap().is_acquired());
    drop(client.try_acquire("free", TTL).await.unwrap());
    client.try_acquire("poison", TTL).await.unwrap_err();
    client.acquire("poison", TTL).await.unwrap_err();
    client.try_acquire("hang", TTL).await.unwrap_err();
    client.acquire("held", LeaseOptions::new(TTL).with_wait_limit(Duration::ZERO)).await.unwrap_err();
    assert!(!drop_after(40, client.acquire("held", TTL)).await);
    assert!(!drop_after(2, client.acquire("hang", TTL)).await, "before it waits");
    assert!(!drop_after(2, client.try_acquire("hang", TTL)).await);
    client.try_acquire("", TTL).await.unwrap_err();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire("held", TTL).await.map(drop) }
    });
    settle().await;
    client.close().await.unwrap();
    waiting.await.unwrap().unwrap_err();
    client.try_acquire("free", TTL).await.unwrap_err();
    let expected = [
        "held: Held, 1",
        "free: granted, 1",
        "poison: Failed(Invalid), 1",
        "poison: Failed(Invalid), 1",
        "hang: Failed(Indeterminate), 1",
        "held: LimitPassed, 1",
        "held: Dropped, 1",
        "hang: Dropped, 1",
        "hang: Dropped, 1",
        "held: Closed, 1",
    ];
    assert_eq!(ends(&events), expected);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_lease_says_how_long_it_took_and_how_often_the_store_was_asked() {
    let (store, events) = (TroubledStore::new(), Events::default());
    let (first, client) = (client(&store), builder(&store).observer(events.clone()).build());
    let _held = first.try_acquire("held", TTL).await.unwrap().acquired().unwrap();
    let limit = Duration::from_secs(7);
    client.acquire("held", LeaseOptions::new(TTL).with_wait_limit(limit)).await.unwrap_err();
    let asked = events.of(|event| matches!(event, LeaseEvent::Attempted { .. }).then_some(())).len();
    let ends = events.of(|event| match event {
        LeaseEvent::NotAcquired { waited, attempts, .. } => Some((*waited, *attempts)),
        _ => None,
    });
    assert!(asked > 3, "it polls");
    let [(waited, attempts)] = &ends[..] else { panic!("{ends:?}") };
    assert_eq!(*attempts as usize, asked);
    assert!((limit..limit + Duration::from_millis(5)).contains(waited), "{waited:?}");
}

/// Also when the caller goes away at the very moment at which its grant arrives.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_ends_once_wherever_it_is_dropped() {
    for polls in 0..40 {
        let (store, events) = (TroubledStore::new(), Events::default());
        let (first, client) = (client(&store), builder(&store).observer(events.clone()).build());
        let held = first.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
        drop_after(polls, client.acquire("free", TTL)).await;
        let releasing = tokio::spawn(async move {
            settle().await;
            held.release().await
        });
        drop_after(80 + polls, client.acquire("job", TTL)).await;
        releasing.await.unwrap().unwrap();
        settle().await;
        // A future that was never polled asked for nothing.
        let expected = 1 + usize::from(polls > 0);
        assert_eq!(ends(&events).len(), expected, "{polls}: {:?}", ends(&events));
        let (granted, lost) = events
            .of(|event| match event {
                LeaseEvent::Granted { token, .. } => Some(Ok(*token)),
                LeaseEvent::Lost { token, .. } => Some(Err(*token)),
                _ => None,
            })
            .into_iter()
            .partition::<Vec<_>, _>(Result::is_ok);
        assert_eq!(granted.len(), lost.len(), "{polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_says_how_long_it_took_and_whether_its_answer_is_only_overdue() {
    let (store, events) = (TroubledStore::new(), Events::default());
    let client = builder(&store).observer(events.clone()).build();
    // Both are renewed by one call, which is cut off at the later of the two timeouts.
    let interval = Duration::from_secs(4);
    let options = |timeout| LeaseOptions::new(TTL).with_renewal_interval(interval).with_attempt_timeout(timeout);
    let (short, long) = (Duration::from_millis(1100), Duration::from_millis(2000));
    let leases = [
        client.try_acquire("stuck-short", options(short)).await.unwrap().acquired().unwrap(),
        client.try_acquire("stuck-long", options(long)).await.unwrap().acquired().unwrap(),
    ];
    sleep(interval + long + Duration::from_millis(100)).await;
    let failures = events.of(|event| match event {
        LeaseEvent::RenewalFailed { name, took, is_overdue, .. } => {
            Some(format!("{name} {} {}", took.as_millis(), if *is_overdue { "overdue" } else { "ended" }))
        }
        _ => None,
    });
    assert_eq!(failures[0], "stuck-short 1105 overdue", "{failures:?}");
    assert!(failures.contains(&"stuck-short 2000 ended".to_owned()), "{failures:?}");
    assert!(failures.contains(&"stuck-long 2000 ended".to_owned()), "{failures:?}");
    drop(leases);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_the_store_refuses_is_reported_before_the_loss() {
    let (store, events) = (TroubledStore::new(), Events::default());
    let client = builder(&store).observer(events.clone()).build();
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    client.break_lease("job", lease.token(), Break::Now).await.unwrap();
    sleep(TTL / 2).await;
    assert!(lease.renew().await.is_err(), "it is not even sent");
    let seen = events.of(|event| match event {
        LeaseEvent::RenewalRefused { reason, took, .. } => {
            assert!(*took < Duration::from_secs(1));
            Some(format!("refused: {reason}"))
        }
        LeaseEvent::Lost { reason, .. } => Some(format!("lost: {reason}")),
        LeaseEvent::Granted { ttl, .. } => Some(format!("granted for {ttl:?}")),
        _ => None,
    });
    let reason = LossReason::Broken;
    assert_eq!(seen, ["granted for 30s".to_owned(), format!("refused: {reason}"), format!("lost: {reason}")]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_says_with_what_kind_of_error() {
    let (store, events) = (TroubledStore::new(), Events::default());
    let client = builder(&store).observer(events.clone()).build();
    client.try_acquire("poison", TTL).await.unwrap_err();
    client.try_acquire("hang", TTL).await.unwrap_err();
    let outcomes = events.of(|event| match event {
        LeaseEvent::Attempted { outcome, .. } => Some(*outcome),
        _ => None,
    });
    assert_eq!(
        outcomes,
        [AttemptOutcome::Failed(ErrorKind::Invalid), AttemptOutcome::Failed(ErrorKind::Indeterminate)]
    );
}

/// Whoever reads the log at night wants one line for a state, not one for an attempt.
#[tokio::test(start_paused = true)]
async fn renewals_that_keep_failing_are_one_warning_and_the_loss_another() {
    let (warnings, events) = (LogCapture::new(Level::WARN), Events::default());
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let client = builder(&TroubledStore::new()).observer(events.clone()).build();
    let lease = client.try_acquire("stuck", TTL).await.unwrap().acquired().unwrap();
    for _ in 0..27 {
        pass(TTL / 30).await;
    }
    let failures = events.of(|event| matches!(event, LeaseEvent::RenewalFailed { .. }).then_some(()));
    let jeopardies = events.of(|event| match event {
        LeaseEvent::Jeopardy { error, .. } => Some(error.kind()),
        _ => None,
    });
    assert!(failures.len() >= 2 && jeopardies == [ErrorKind::Indeterminate], "{} {jeopardies:?}", failures.len());
    assert_eq!(warnings.lines().len(), 1);
    lease.lost().await;
    settle().await;
    assert_eq!(warnings.lines().len(), 2);
}

const NOT_IN_TIME: &str = "runtime did not run in time";

/// Whether the renewal task slept until then, was just told of an earlier moment, or never ran.
#[tokio::test(start_paused = true)]
async fn f25_a_runtime_that_is_blocked_is_named_as_the_cause_of_late_renewals() {
    for others in [0, 1] {
        let warnings = LogCapture::new(Level::WARN);
        let _guard = tracing::subscriber::set_default(warnings.clone());
        let client = client(&TroubledStore::new());
        let mut held = Vec::new();
        for other in 0..others {
            held.push(client.acquire(format!("other-{other}"), TTL).await.unwrap());
            pass(Duration::from_secs(2)).await;
        }
        for interval in [1, 2] {
            let options = LeaseOptions::new(TTL).with_renewal_interval(Duration::from_secs(interval));
            held.push(client.acquire(format!("every-{interval}"), &options).await.unwrap());
            // Nothing runs meanwhile.
            pass(Duration::from_secs(5)).await;
            let lines = warnings.lines_containing(NOT_IN_TIME);
            assert!(lines.len() == interval as usize && lines[0].contains("late=4s"), "{others} {interval}: {lines:?}");
        }
        assert_eq!(warnings.lines().len(), 2);
        assert!(held.iter().all(|lease| lease.is_held()));
    }
}

#[tokio::test(start_paused = true)]
async fn f25_a_slow_answer_is_not_taken_for_a_blocked_runtime() {
    let warnings = LogCapture::new(Level::WARN);
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let store = TroubledStore::new();
    let client = client(&store);
    let second = Duration::from_secs(1);
    let options = LeaseOptions::new(TTL).with_renewal_interval(second).with_attempt_timeout(6 * second);
    store.close_gate();
    let acquiring = tokio::spawn(async move { client.acquire("job", &options).await });
    settle().await;
    pass(5 * second).await;
    store.open_gate();
    let lease = acquiring.await.unwrap().unwrap();
    settle().await;
    store.close_gate();
    pass(second).await;
    pass(second * 5 / 2).await;
    store.open_gate();
    settle().await;
    assert!(lease.is_held());
    assert_eq!(warnings.lines(), Vec::<String>::new());
}

/// Everything of one request is found by its id: the events, and what a caller sees that is blocked.
#[tokio::test(start_paused = true)]
async fn a_correlation_id_is_in_all_events_and_in_the_metadata() {
    let store = TroubledStore::new();
    let events = Events::default();
    let client = builder(&store).observer(events.clone()).build();
    let id = Correlation::new("req-7").unwrap();
    let options = LeaseOptions::new(TTL).with_correlation(id.clone());
    let lease = client.acquire("job", &options).await.unwrap();
    assert_eq!(lease.correlation(), Some(&id));
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire("job", options).await.map(drop) }
    });
    settle().await;
    let seen = client.try_acquire("job", TTL).await.unwrap();
    let TryAcquired::Held { by: Some(record), .. } = seen else { panic!("unexpected answer: {seen:?}") };
    assert_eq!(record.metadata.get("correlation"), Some("req-7"));

    lease.set_metadata(Metadata::new([("step", "2")]).unwrap()).await.unwrap();
    let record = client.inspect("job").await.unwrap().unwrap();
    assert_eq!((record.metadata.get("correlation"), record.metadata.get("step")), (Some("req-7"), Some("2")));
    sleep(TTL).await;
    store.close_gate();
    sleep(TTL / 2).await;
    store.open_gate();
    sleep(TTL / 2).await;
    lease.release().await.unwrap();
    waiting.await.unwrap().unwrap();
    sleep(TTL).await;

    let mut kinds = std::collections::BTreeSet::new();
    for event in events.of(|event| Some(event.clone())) {
        let text = format!("{event:?}");
        let kind = text.split([' ', '{']).next().unwrap().to_owned();
        // One try was made without it.
        let is_other = text.contains("Held") && text.contains("correlation: None");
        assert!(text.contains(r#"correlation: Some("req-7")"#) || is_other, "{text}");
        kinds.insert(kind);
    }
    let expected = [
        "Attempted",
        "Granted",
        "Jeopardy",
        "Lost",
        "NotAcquired",
        "Recovered",
        "Released",
        "RenewalFailed",
        "Renewed",
        "WaitEnded",
        "WaitStarted",
    ];
    assert!(kinds.iter().map(String::as_str).eq(expected), "{kinds:?}");
}

/// Neither panics nor delays of an observer cost a lease; both are counted.
#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_or_is_slow_costs_no_lease() {
    #[derive(Debug)]
    struct Panics;

    impl Observer for Panics {
        fn observe(&self, _: &LeaseEvent) {
            panic!("always");
        }
    }

    let events = Events::default();
    let client = builder(&TroubledStore::new()).observer(Panics).observer(events.clone()).build();
    let lease = client.acquire("job", TTL).await.unwrap();
    sleep(TTL * 3).await;
    assert!(lease.is_held());
    lease.release().await.unwrap();
    let seen = events.of(|_| Some(())).len() as u64;
    assert!(seen > 10, "{seen}");
    assert_eq!(client.health().observer_panics(), seen);
    client.close().await.unwrap();
}

#[test]
fn a_slow_observer_is_counted() {
    #[derive(Debug)]
    struct Slow;

    impl Observer for Slow {
        fn observe(&self, _: &LeaseEvent) {
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let client = LeaseClient::builder(lease_memory::MemoryStore::new()).observer(Slow).build();
        let lease = client.acquire("job", TTL).await.unwrap();
        assert!(lease.is_held());
        // An attempt, and a grant.
        assert_eq!(client.health().slow_observer_calls(), 2);
        assert_eq!(client.health().observer_panics(), 0);
    });
}
