//! Natural batches: one request alone, many grants per request under load, and neighbours that harm nobody (L7, S15, S24).

use std::time::Duration;

use futures::future::join_all;
use lease_core::{Clock, ErrorKind, LeaseState, TokioClock};

use crate::support::{TTL, TroubledStore, client, is_free, pass, settle};

#[tokio::test(start_paused = true)]
async fn alone_an_operation_is_one_call_with_one_element() {
    let store = TroubledStore::new();
    let client = client(&store);
    for _ in 0..3 {
        client.try_acquire("job", TTL).await.unwrap().acquired().unwrap().release().await.unwrap();
    }
    assert_eq!(store.calls("acquire"), [1, 1, 1]);
    assert_eq!(store.calls("release"), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn alone_an_operation_needs_no_other_task() {
    let store = TroubledStore::new();
    let client = client(&store);
    let lease = client.try_acquire("first", TTL).await.unwrap().acquired().unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    store.close_gate();
    let mut alone = Box::pin(client.try_acquire("job", TTL));
    assert!(futures::poll!(&mut alone).is_pending());
    settle().await;
    assert_eq!(tasks(), before, "a task was spawned for a lone call");
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn under_load_many_grants_share_a_request() {
    let store = TroubledStore::new();
    let client = client(&store);
    store.close_gate();
    let acquiring = tokio::spawn({
        let client = client.clone();
        async move { join_all((0..600).map(|n| client.try_acquire(format!("job-{n}"), TTL))).await }
    });
    settle().await;
    store.open_gate();
    let leases = acquiring.await.unwrap();
    assert!(leases.iter().all(|lease| lease.as_ref().unwrap().is_acquired()));
    let calls = store.calls("acquire");
    assert_eq!(calls.iter().sum::<usize>(), 600);
    assert!(calls.len() <= 5, "{calls:?}");
    assert!(calls.iter().all(|elements| *elements <= 256), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_gets_as_many_calls_at_once_as_it_takes() {
    for (calls_at_once, expected) in [(0, vec![1, 1]), (1, vec![1, 1]), (2, vec![1, 1, 4]), (3, vec![1, 1, 4, 4])] {
        let store = TroubledStore::new().with_calls_at_once(calls_at_once);
        let client = client(&store);
        store.close_gate();
        let mut names = (0..).map(|n| format!("job-{n}"));
        let mut waiting = Vec::new();
        // The first goes alone, the second by a courier; from then on it takes four to send another one.
        for wave in [1, 1, 3, 1, 4, 20] {
            for name in names.by_ref().take(wave) {
                let client = client.clone();
                waiting.push(tokio::spawn(async move { client.try_acquire(name, TTL).await }));
            }
            settle().await;
        }
        assert_eq!(store.calls("acquire"), expected, "{calls_at_once} at once");
        store.open_gate();
        for outcome in join_all(waiting).await {
            assert!(outcome.unwrap().unwrap().is_acquired());
        }
        assert_eq!(store.calls("acquire").iter().sum::<usize>(), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn where_calls_take_turns_half_of_all_go_at_a_time() {
    let store = TroubledStore::new().with_calls_at_once(1);
    let client = client(&store);
    let held = join_all((0..40).map(|n| client.try_acquire(format!("job-{n}"), TTL))).await;
    store.close_gate();
    let acquiring = tokio::spawn(async move { client.try_acquire("another-job", TTL).await });
    settle().await;
    let releasing = held.into_iter().map(|lease| lease.unwrap().acquired().unwrap().release());
    let releasing = tokio::spawn(join_all(releasing));
    settle().await;
    // One alone, and half of the 41 that are on their way then.
    assert_eq!(store.calls("release"), [1, 20]);
    store.open_gate();
    let _held = acquiring.await.unwrap().unwrap().acquired().unwrap();
    assert!(releasing.await.unwrap().iter().all(Result::is_ok));
    assert_eq!(store.calls("release"), [1, 20, 19]);
}

#[tokio::test(start_paused = true)]
async fn where_calls_take_turns_those_who_are_answered_together_stay_together() {
    let store = TroubledStore::new().with_calls_at_once(1);
    let client = client(&store);
    let alone = client.try_acquire("alone", TTL);
    let together = (0..32).map(|n| {
        let client = client.clone();
        tokio::spawn(async move {
            client.try_acquire(format!("job-{n}"), TTL).await.unwrap().acquired().unwrap().release().await
        })
    });
    let (held, released) = tokio::join!(alone, join_all(together));
    assert!(held.unwrap().is_acquired());
    assert!(released.into_iter().all(|outcome| outcome.unwrap().is_ok()));
    assert_eq!(store.calls("acquire"), [1, 16, 16]);
    // The first of each group is back before the others, and does not go without them.
    assert_eq!(store.calls("release"), [16, 16]);
}

#[tokio::test(start_paused = true)]
async fn a_name_stands_once_in_a_call() {
    let store = TroubledStore::new();
    let client = client(&store);
    let outcomes = join_all((0..20).map(|_| client.try_acquire("job", TTL))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.as_ref().unwrap().is_acquired()).count(), 1);
    assert!(store.calls("acquire").iter().all(|elements| *elements == 1));
}

#[tokio::test(start_paused = true)]
async fn l07_a_poisonous_neighbour_harms_nobody() {
    let store = TroubledStore::new();
    let client = client(&store);
    store.close_gate();
    let names = (0..100).map(|n| if n == 37 { "poison".to_owned() } else { format!("job-{n}") });
    let acquiring = tokio::spawn({
        let client = client.clone();
        async move { join_all(names.map(|name| client.try_acquire(name, TTL))).await }
    });
    settle().await;
    store.open_gate();
    let outcomes = acquiring.await.unwrap();
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(lease) => assert!(n != 37 && lease.is_acquired()),
            Err(error) => assert_eq!((n, error.kind()), (37, ErrorKind::Invalid)),
        }
    }
    let calls = store.calls("acquire").len();
    assert!(calls <= 20, "{calls} calls to find one poisonous item in 100");
}

#[tokio::test(start_paused = true)]
async fn s24_a_hanging_call_does_not_hold_up_the_others() {
    let store = TroubledStore::new();
    let client = client(&store);
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { join_all((0..3).map(|n| client.try_acquire(format!("hang-{n}"), TTL))).await }
    });
    settle().await;
    let clock = TokioClock::new();
    let began = clock.now();
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let took = clock.now().saturating_since(began);
    assert!(took <= Duration::from_millis(60), "{took:?}");
    for outcome in hanging.await.unwrap() {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Indeterminate);
    }
    assert!(lease.is_held());
}

#[tokio::test(start_paused = true)]
async fn s24_the_number_of_hanging_calls_is_bounded_and_they_are_cut_in_the_end() {
    let store = TroubledStore::new();
    let client = client(&store);
    let mut hanging = Vec::new();
    for n in 0..40 {
        let client = client.clone();
        hanging.push(tokio::spawn(async move { client.try_acquire(format!("hang-{n}"), TTL).await.map(|_| ()) }));
        pass(Duration::from_millis(60)).await;
    }
    let calls = store.calls("acquire").len();
    assert!(calls <= 9, "{calls} calls hang at once");
    pass(Duration::from_secs(10)).await;
    for task in hanging {
        assert!(task.await.unwrap().unwrap_err().is_transient());
    }
    assert!(client.try_acquire("job", TTL).await.unwrap().is_acquired());
}

#[tokio::test(start_paused = true)]
async fn s15_a_caller_that_is_not_polled_holds_up_nobody() {
    let store = TroubledStore::new();
    let client = client(&store);
    store.close_gate();
    let mut asleep = Box::pin(client.try_acquire("asleep", TTL));
    assert!(futures::poll!(&mut asleep).is_pending());
    store.open_gate();
    for n in 0..10 {
        assert!(client.try_acquire(format!("job-{n}"), TTL).await.unwrap().is_acquired());
    }
    assert!(asleep.await.unwrap().is_acquired());
}

#[tokio::test(start_paused = true)]
async fn s15_a_dropped_caller_does_not_cut_its_call_or_its_batch() {
    let store = TroubledStore::new();
    let client = client(&store);
    store.close_gate();
    let mut alone = Box::pin(client.try_acquire("alone", TTL));
    assert!(futures::poll!(&mut alone).is_pending());
    let mut batch: Vec<_> = (0..4).map(|n| Box::pin(client.try_acquire(format!("job-{n}"), TTL))).collect();
    for caller in &mut batch {
        assert!(futures::poll!(caller).is_pending());
    }
    settle().await;
    drop(alone);
    drop(batch.remove(2));
    store.open_gate();
    for caller in batch {
        assert!(caller.await.unwrap().is_acquired());
    }
    settle().await;
    assert!(is_free(&store, "alone").await && is_free(&store, "job-2").await, "a grant that nobody claims was left");
    assert_eq!(store.calls("acquire").iter().sum::<usize>(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_provider_is_an_error_of_its_item_and_no_hang() {
    let store = TroubledStore::new();
    let client = client(&store);
    store.close_gate();
    let mut first = Box::pin(client.try_acquire("first", TTL));
    assert!(futures::poll!(&mut first).is_pending());
    let error = client.try_acquire("panic", TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    store.open_gate();
    assert!(first.await.unwrap().is_acquired());
    assert!(client.try_acquire("job", TTL).await.unwrap().is_acquired());
}

#[tokio::test(start_paused = true)]
async fn s24_an_item_with_little_time_goes_around_a_batch_that_hangs() {
    let store = TroubledStore::new();
    let client = client(&store);
    // Their renewals, due from 10 s on, never come back.
    let _relaxed = join_all((0..255).map(|n| client.try_acquire(format!("stuck-{n}"), TTL))).await;
    let urgent = client.try_acquire("urgent", Duration::from_millis(400)).await.unwrap().acquired().unwrap();
    for _ in 0..3000 {
        pass(Duration::from_millis(5)).await;
        assert!(urgent.is_held());
    }
    assert!(store.calls("renew").iter().any(|elements| *elements >= 255), "{:?}", store.calls("renew"));
}

#[tokio::test(start_paused = true)]
async fn l7_a_part_of_the_store_that_hangs_holds_up_nobody_in_the_others() {
    let store = TroubledStore::new().with_parts();
    let client = client(&store);
    let ttl = Duration::from_secs(6);
    let names = (0..90).map(|n| if n % 3 == 0 { format!("stuck-{n}") } else { format!("job-{n}") });
    let leases = join_all(names.map(|name| client.try_acquire(name, ttl))).await;
    let leases: Vec<_> = leases.into_iter().map(|lease| lease.unwrap().acquired().unwrap()).collect();
    let (stuck, healthy): (Vec<_>, Vec<_>) =
        leases.into_iter().partition(|lease| lease.name().as_str().starts_with("stuck"));
    for _ in 0..400 {
        pass(Duration::from_millis(50)).await;
        assert!(healthy.iter().all(|lease| lease.state() == LeaseState::Held));
    }
    assert!(stuck.iter().all(|lease| !lease.is_held()));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tries_of_one_held_name_are_one_question() {
    let (store, clock) = (TroubledStore::new(), TokioClock::new());
    let held = client(&store).try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let client = client(&store);
    // The first one is under way while the others come.
    store.close_gate();
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let client = client.clone();
        tries.spawn(async move { client.try_acquire("job", TTL).await.unwrap().acquired().is_none() });
    }
    settle().await;
    let began = clock.now();
    let before = store.calls("acquire").len();
    store.open_gate();
    while let Some(is_held) = tries.join_next().await {
        assert!(is_held.unwrap());
    }
    assert!(clock.now().saturating_since(began) < Duration::from_millis(1));
    let calls = store.calls("acquire").len() - before;
    assert!(calls <= 2, "{calls} calls");
    drop(held);
}

/// Only one of them gets it, and that is no answer to the others.
#[tokio::test(start_paused = true)]
async fn of_a_hundred_tries_of_one_free_name_one_wins_and_all_are_answered() {
    let store = TroubledStore::new();
    let client = client(&store);
    store.close_gate();
    let busy = tokio::spawn({
        let client = client.clone();
        async move { client.try_acquire("busy", TTL).await.map(drop) }
    });
    settle().await;
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        tries.spawn(async move { client.try_acquire("job", TTL).await.unwrap().acquired() });
    }
    settle().await;
    store.open_gate();
    let mut won = Vec::new();
    while let Some(outcome) = tries.join_next().await {
        won.extend(outcome.unwrap());
    }
    assert_eq!(won.len(), 1);
    busy.await.unwrap().unwrap();
}

/// The answer could not come, so the outcome would be unknown for nothing.
#[tokio::test(start_paused = true)]
async fn s24_what_waited_until_too_little_time_was_left_is_not_sent() {
    let store = TroubledStore::new();
    let client = client(&store);
    let mut first = Box::pin(client.try_acquire("hang", TTL));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(client.try_acquire("job", TTL));
    assert!(futures::poll!(&mut second).is_pending());
    // As on a runtime that is blocked: whoever brings it to the store runs late.
    tokio::time::advance(Duration::from_secs(5) - Duration::from_micros(700)).await;
    let error = second.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("too little time was left"), "{error}");
    assert_eq!(store.calls("acquire"), [1]);
}
