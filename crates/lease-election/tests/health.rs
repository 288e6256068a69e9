//! Health that changes while something else happens.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use lease_core::Clock;
use lease_election::{CandidateOptions, Health, HealthCheck};
use lease_testkit::{Fault, Operation};
use support::{Group, SECOND};

#[derive(Debug)]
struct Well;

#[async_trait]
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
        assert!(took <= SECOND * 17, "checked every {interval:?}: somebody leads after {took:?}");
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
