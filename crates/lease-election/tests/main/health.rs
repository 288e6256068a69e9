//! Health, and its effect on campaigning and leading.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lease_core::{Clock, ErrorKind, Metadata};
use lease_election::{CandidateOptions, Health, HealthCheck};
use lease_testkit::{Fault, Operation};
use tokio::sync::Notify;

use crate::support::{Group, SECOND};

#[derive(Debug)]
struct Well;

impl HealthCheck for Well {
    async fn check(&self) -> Health {
        Health::healthy()
    }
}

#[tokio::test(start_paused = true)]
async fn l08_checks_of_health_do_not_hold_up_the_fail_over() {
    for interval in [Duration::from_millis(100), SECOND / 2, SECOND, SECOND * 5] {
        let group = Group::new();
        let leader = group.join("leader", CandidateOptions::new()).await;
        assert!(leader.candidate.is_leader());
        let mut followers = Vec::new();
        for id in ["one", "two", "three"] {
            let follower = group.join(id, CandidateOptions::new()).await;
            follower.candidate.watch_health(interval, Well).unwrap();
            followers.push(follower);
        }
        group.pass(SECOND * 5).await;
        leader.chaos.cut();
        let took = group.until(|| followers.iter().any(|follower| follower.candidate.is_leader())).await;
        assert!(took <= SECOND * 17, "checked every {interval:?}: there is a leader after {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn l08_a_candidate_wins_although_its_health_is_set_more_often_than_the_store_answers() {
    let group = Group::new();
    let one = group.join("one", CandidateOptions::new()).await;
    one.candidate.stop().await.unwrap();
    one.chaos.inject(Fault::DelayAnswer(Duration::from_millis(30)).on(Operation::Acquire));
    let (candidate, clock) = (one.candidate.clone(), group.clock);
    tokio::spawn(async move {
        for n in 0.. {
            candidate.set_health(1.0 - f64::from(n % 10) / 100.0).unwrap();
            clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
        }
    });
    one.candidate.start().unwrap();
    let took = group.until(|| one.candidate.is_leader()).await;
    assert!(took < SECOND, "{took:?}");
}

/// A leader that counts its terms.
fn counts_terms(candidate: &lease_election::Candidate) -> Arc<AtomicUsize> {
    let terms = Arc::new(AtomicUsize::new(0));
    let (counted, candidate) = (Arc::clone(&terms), candidate.clone());
    tokio::spawn(async move {
        let work = |term: lease_election::Term| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { term.draining().await }
        };
        candidate.lead(work).await;
    });
    terms
}

#[tokio::test(start_paused = true)]
async fn l08_who_stays_away_is_not_offered_the_leadership() {
    let group = Group::new();
    let high = group.join("high", CandidateOptions::new().with_priority(10)).await;
    let low = group.join("low", CandidateOptions::new()).await;
    let terms = counts_terms(&low.candidate);
    high.candidate.step_down(SECOND * 3600).await.unwrap();
    group.until(|| low.candidate.is_leader()).await;
    group.pass(SECOND * 600).await;
    assert!(low.candidate.is_leader());
    assert_eq!(terms.load(Ordering::SeqCst), 1);
}

#[derive(Debug, Default)]
struct PanicsAtTheThird(AtomicUsize);

impl HealthCheck for PanicsAtTheThird {
    async fn check(&self) -> Health {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) < 2, "a defect in the check");
        Health::healthy()
    }
}

#[tokio::test(start_paused = true)]
async fn l08_a_check_that_panics_is_no_good_health() {
    let group = Group::new();
    let one = group.join("one", CandidateOptions::new()).await;
    one.candidate.watch_health(SECOND, PanicsAtTheThird::default()).unwrap();
    assert!(one.candidate.is_leader());
    group.pass(SECOND * 10).await;
    assert!(!one.candidate.is_leader());
    let info = &one.candidate.election().candidates().await.unwrap()[0];
    assert_eq!((info.is_fit, info.health.score()), (false, 0.0));
    assert!(info.health.details()["check"].contains("panic"));
    // Its health may be set by hand.
    one.candidate.set_health(1.0).unwrap();
    group.until(|| one.candidate.is_leader()).await;
}

#[tokio::test(start_paused = true)]
async fn s23_a_check_without_a_pause_is_refused() {
    let group = Group::new();
    let one = group.join("one", CandidateOptions::new()).await;
    let error = one.candidate.watch_health(Duration::ZERO, Well).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn l08_bad_health_counts_even_if_its_details_are_too_large_to_publish() {
    let group = Group::new();
    let metadata = Metadata::new([("key", "v".repeat(4000))]).unwrap();
    let one = group.join("one", CandidateOptions::new().with_metadata(metadata)).await;
    assert!(one.candidate.is_leader());
    let sick = Health::with_score(0.123_456_789_012_345).with_detail("disk", "full ".repeat(100));
    assert_eq!(one.candidate.set_health(sick).unwrap_err().kind(), ErrorKind::Invalid);
    group.pass(SECOND * 10).await;
    assert!(!one.candidate.is_leader());
    let info = &one.candidate.election().candidates().await.unwrap()[0];
    assert_eq!((info.is_fit, info.health.score()), (false, 0.1235));
}

#[tokio::test(start_paused = true)]
async fn s17_a_candidate_does_not_lead_without_work_after_a_panic() {
    let group = Group::new();
    let first = group.join("first", CandidateOptions::new()).await;
    let second = group.join("second", CandidateOptions::new()).await;
    second.candidate.step_down(SECOND * 20).await.unwrap();
    let candidate = first.candidate.clone();
    let work = tokio::spawn(async move { candidate.lead(|_| async { panic!("a defect in the work") }).await });
    assert!(work.await.unwrap_err().is_panic());
    for _ in 0..100 {
        group.pass(SECOND / 10).await;
        assert!(!first.candidate.is_leader());
    }
    group.until(|| second.candidate.is_leader()).await;
    // With work it campaigns again; after a stop and a start it campaigns as at the beginning.
    second.candidate.stop().await.unwrap();
    let terms = counts_terms(&first.candidate);
    group.until(|| terms.load(Ordering::SeqCst) == 1).await;
    first.candidate.stop().await.unwrap();
    first.candidate.start().unwrap();
    group.until(|| first.candidate.is_leader()).await;
}

#[tokio::test(start_paused = true)]
async fn a_short_step_down_does_not_end_a_long_one() {
    let group = Group::new();
    let one = group.join("one", CandidateOptions::new()).await;
    one.candidate.step_down(SECOND * 3600).await.unwrap();
    one.candidate.step_down(SECOND).await.unwrap();
    group.pass(SECOND * 3000).await;
    assert!(!one.candidate.is_leader());
    group.until(|| one.candidate.is_leader()).await;
}

#[tokio::test(start_paused = true)]
async fn l08_before_the_first_answer_of_its_check_a_candidate_does_not_campaign() {
    let group = Group::new();
    let one = group.join("one", CandidateOptions::new().with_start_later()).await;
    let answer = Arc::new(Notify::new());
    one.candidate
        .watch_health(SECOND * 60, {
            let answer = Arc::clone(&answer);
            move || {
                let answer = Arc::clone(&answer);
                async move {
                    answer.notified().await;
                    // Above the minimum. There is no hysteresis, because it was not unhealthy before.
                    0.85
                }
            }
        })
        .unwrap();
    one.candidate.start().unwrap();
    group.pass(SECOND * 10).await;
    assert!(!one.candidate.is_leader());
    answer.notify_one();
    group.pass(SECOND / 10).await;
    assert!(one.candidate.is_leader());
}

#[tokio::test(start_paused = true)]
async fn a_check_can_be_replaced_and_stopped() {
    let group = Group::new();
    let one = group.join("one", CandidateOptions::new()).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let check = |healthy: bool| {
        let asked = Arc::clone(&asked);
        move || {
            asked.fetch_add(1, Ordering::SeqCst);
            async move { healthy }
        }
    };
    one.candidate.watch_health(SECOND, check(true)).unwrap();
    group.pass(SECOND * 10).await;
    assert!(one.candidate.is_leader(), "a leader does not step down for a check that has not answered");
    one.candidate.watch_health(SECOND, check(false)).unwrap();
    group.pass(SECOND).await;
    assert!(!one.candidate.is_leader());
    group.pass(SECOND * 10).await;
    assert!(!one.candidate.is_leader(), "the two do not fight");
    one.candidate.stop_watching_health();
    let before = asked.load(Ordering::SeqCst);
    group.pass(SECOND * 10).await;
    assert_eq!(asked.load(Ordering::SeqCst), before);
    assert!(!one.candidate.is_leader(), "what was said last counts on");
    one.candidate.set_health(true).unwrap();
    group.pass(SECOND * 5).await;
    assert!(one.candidate.is_leader());
}
