//! Elections over any store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lease_core::{FencingToken, HolderId, LeaseClient, LossReason, Metadata, Moment, Result};
use lease_election::{
    Candidate, CandidateOptions, ChangeKind, Election, ElectionOptions, Health, HealthCheck, Leader, LeadershipChange,
    LeadershipStream, Term,
};
use tokio_stream::{Stream, StreamExt};

use crate::{ChaosStore, Injection, bench::Bench};

const GROUP: &str = "dispatcher";

/// Returns the lease duration of these cases.
fn lease_duration(bench: &Bench) -> Duration {
    bench.ttl * 3
}

fn options(bench: &Bench) -> ElectionOptions {
    ElectionOptions::new(lease_duration(bench))
}

/// Returns a limit that exceeds every wait for an expiry in these cases.
fn limit(bench: &Bench) -> Duration {
    lease_duration(bench) * 2 + bench.tolerance()
}

/// Returns the election as another process would open it.
async fn election(bench: &Bench) -> Election {
    election_of(bench, bench.client().await)
}

fn election_of(bench: &Bench, client: LeaseClient) -> Election {
    Election::new(client, GROUP, options(bench)).expect("a valid election")
}

fn id(name: &str) -> HolderId {
    HolderId::new(name).expect("a valid id")
}

fn named(name: &str) -> CandidateOptions {
    CandidateOptions::new().with_id(id(name))
}

async fn candidate(bench: &Bench, options: CandidateOptions) -> Candidate {
    election(bench).await.candidate(options).expect("a valid candidate")
}

/// Returns a candidate whose store can be cut off, which has the effect of a crash.
async fn mortal(bench: &Bench, name: &str) -> (Candidate, ChaosStore) {
    let chaos = bench.chaos_store().await;
    let election = election_of(bench, bench.client_of(chaos.clone()));
    (election.candidate(named(name)).expect("a valid candidate"), chaos)
}

async fn leads(bench: &Bench, candidate: &Candidate) -> Term {
    let what = format!("{} leads", candidate.id());
    bench.poll(&what, limit(bench), async || candidate.leadership()).await
}

async fn next(bench: &Bench, stream: &mut (impl Stream<Item = Result<LeadershipChange>> + Unpin)) -> LeadershipChange {
    let change = bench.expect_within("a change", limit(bench), stream.next()).await;
    change.expect("the stream goes on").expect("the store answers")
}

/// Waits for the change to this leader, or to no leader.
async fn sees(
    bench: &Bench,
    stream: &mut (impl Stream<Item = Result<LeadershipChange>> + Unpin),
    leader: Option<&str>,
) {
    let is_it = |new: &Option<Leader>| new.as_ref().map(|new| new.id.as_str()) == leader;
    bench
        .expect_within(&format!("the leader is {leader:?}"), limit(bench), async {
            while !matches!(stream.next().await, Some(Ok(LeadershipChange::Changed { new, .. })) if is_it(&new)) {}
        })
        .await;
}

/// One of several candidates leads, and all agree on it.
pub async fn exactly_one_candidate_leads(bench: &Bench) {
    let mut candidates = Vec::new();
    for name in ["a", "b", "c"] {
        candidates.push(candidate(bench, named(name)).await);
    }
    let leader = async || candidates.iter().find(|candidate| candidate.is_leader()).cloned();
    let leader = bench.poll("a candidate leads", limit(bench), leader).await;
    let watched = bench.now();
    while bench.now().saturating_since(watched) < lease_duration(bench) {
        bench.sleep(bench.ttl / 8).await;
        let leading = candidates.iter().filter(|candidate| candidate.is_leader()).count();
        assert_eq!(leading, 1, "the number of leaders");
    }
    for candidate in &candidates {
        let seen = candidate.current_leader().await.expect("the store answers").expect("there is a leader");
        assert_eq!(&seen.id, leader.id());
        assert_eq!(Some(seen.term), leader.leadership().map(|term| term.token()));
    }
}

/// After a crash of the leader another candidate leads within the lease duration and a little, with a greater term.
pub async fn a_crash_is_followed_by_another_leader(bench: &Bench) {
    let (first, network) = mortal(bench, "first").await;
    let old = leads(bench, &first).await;
    let second = candidate(bench, named("second")).await;
    network.cut();
    let new = leads(bench, &second).await;
    assert!(!old.is_held() && !first.is_leader(), "the former leader has not observed its loss");
    assert!(new.token() > old.token());
}

/// The same while the other candidates check their health all the time: another one leads within the lease duration and two
/// polls (L2, L8).
pub async fn l08_checks_of_health_do_not_hold_up_the_fail_over(bench: &Bench) {
    let intervals = [100, 1000, 5000].map(Duration::from_millis);
    futures::future::join_all(intervals.map(|interval| async move {
        let group = |client| {
            Election::new(client, &format!("checked every {interval:?}"), options(bench)).expect("a valid election")
        };
        let network = bench.chaos_store().await;
        let leader = group(bench.client_of(network.clone())).candidate(named("leader")).expect("a valid candidate");
        leads(bench, &leader).await;
        let mut followers = Vec::new();
        for name in ["one", "two", "three"] {
            let follower = group(bench.client().await).candidate(named(name)).expect("a valid candidate");
            follower.watch_health(interval, || async { true }).expect("in a runtime");
            followers.push(follower);
        }
        // Each interval falls differently on the expiry.
        bench.sleep(bench.ttl).await;
        let crashed = bench.now();
        network.cut();
        bench
            .poll("a follower leads", limit(bench) * 2, async || followers.iter().find_map(Candidate::leadership))
            .await;
        let took = bench.now().saturating_since(crashed);
        // Where processes disagree about the expiry, it is late by what the harness says.
        let capabilities = bench.capabilities().await;
        let late = if capabilities.agrees_on_expiry { Duration::ZERO } else { bench.tolerance() };
        assert!(
            took <= lease_duration(bench) + bench.longest_poll(&capabilities) + late,
            "with checks every {interval:?}, a follower led after {took:?}"
        );
    }))
    .await;
}

/// After a leader stops, the next one leads at once, not after the lease duration.
pub async fn a_clean_stop_hands_over_at_once(bench: &Bench) {
    let first = candidate(bench, named("first")).await;
    leads(bench, &first).await;
    let second = candidate(bench, named("second")).await;
    bench.poll("the second candidate is listed", limit(bench), async || lists(&second, 2).await).await;
    let stopped = bench.now();
    first.stop().await.expect("stopped");
    leads(bench, &second).await;
    let took = bench.now().saturating_since(stopped);
    let capabilities = bench.capabilities().await;
    assert!(
        !capabilities.push || took < bench.tolerance().max(bench.longest_poll(&capabilities)),
        "the next leader came after {took:?}"
    );
    let left: Vec<_> = election(bench).await.candidates().await.expect("the store answers");
    assert!(left.iter().all(|candidate| candidate.id == id("second")), "a stopped candidate is still listed: {left:?}");
}

/// Returns `Some` if this number of candidates is listed.
async fn lists(candidate: &Candidate, number: usize) -> Option<()> {
    let listed = candidate.election().candidates().await.expect("the store answers");
    (listed.len() == number).then_some(())
}

/// An unhealthy leader steps down, and does not return before it is healthy (L8).
pub async fn l08_an_unhealthy_leader_steps_down_and_a_healthy_one_follows(bench: &Bench) {
    let first = candidate(bench, named("first")).await;
    let old = leads(bench, &first).await;
    let second = candidate(bench, named("second")).await;
    first.set_health(Health::with_score(0.5).with_detail("disk", "full")).expect("small enough");
    let new = leads(bench, &second).await;
    assert!(new.token() > old.token());
    let listed = election(bench).await.candidates().await.expect("the store answers");
    let sick = listed.iter().find(|candidate| candidate.id == id("first")).expect("the unfit candidate is listed");
    assert!(!sick.is_fit && !sick.is_leader);
    assert_eq!(sick.health.details().get("disk").map(String::as_str), Some("full"));
    second.stop().await.expect("stopped");
    // Above the minimum, but within the hysteresis.
    first.set_health(0.85).expect("small enough");
    bench.sleep(bench.ttl).await;
    assert!(!first.is_leader(), "led again within the hysteresis");
    first.set_health(true).expect("small enough");
    leads(bench, &first).await;
}

/// When no candidate is healthy none leads, and the stream reports this (L8, S19).
pub async fn l08_nobody_leads_when_nobody_is_healthy(bench: &Bench) {
    let (first, second) = (candidate(bench, named("first")).await, candidate(bench, named("second")).await);
    let mut changes = election(bench).await.changes().expect("a stream");
    let leading = async || [&first, &second].into_iter().find(|candidate| candidate.is_leader()).cloned();
    let leader = bench.poll("a candidate leads", limit(bench), leading).await;
    sees(bench, &mut changes, Some(leader.id().as_str())).await;
    for candidate in [&first, &second] {
        candidate.set_health(false).expect("small enough");
    }
    sees(bench, &mut changes, None).await;
    bench.sleep(bench.ttl).await;
    assert!(!first.is_leader() && !second.is_leader());
    assert_eq!(first.current_leader().await.expect("the store answers"), None);
    second.set_health(true).expect("small enough");
    sees(bench, &mut changes, Some("second")).await;
}

/// A health check decides about the leadership. One that hangs counts as unhealthy (L8).
pub async fn l08_a_check_decides_about_health(bench: &Bench) {
    #[derive(Debug)]
    struct Hangs;
    impl HealthCheck for Hangs {
        async fn check(&self) -> Health {
            std::future::pending().await
        }
    }
    let first = candidate(bench, named("first")).await;
    leads(bench, &first).await;
    let second = candidate(bench, named("second")).await;
    first.watch_health(bench.ttl / 4, Hangs).expect("in a runtime");
    leads(bench, &second).await;
    assert!(!first.is_leader());
}

/// A candidate of higher priority takes over by a hand-over, and no other candidate leads in between.
pub async fn a_better_candidate_takes_over_in_order(bench: &Bench) {
    let low = candidate(bench, named("low")).await;
    let old = leads(bench, &low).await;
    let middle = candidate(bench, named("middle")).await;
    let high = candidate(bench, named("high").with_priority(7)).await;
    let new = leads(bench, &high).await;
    assert!(new.token() > old.token() && !old.is_held());
    assert_eq!(old.lease().lost().await, LossReason::Released, "the leadership was not handed over");
    assert!(!middle.is_leader());
}

/// Candidates of equal priority do not replace the leader.
pub async fn ties_stay_with_the_leader(bench: &Bench) {
    let first = candidate(bench, named("first").with_priority(3)).await;
    let term = leads(bench, &first).await;
    let _equal = candidate(bench, named("equal").with_priority(3)).await;
    let _lower = candidate(bench, named("lower").with_priority(-1)).await;
    bench.sleep(lease_duration(bench)).await;
    assert!(term.is_held());
}

/// A leader hands over to the candidate that it names, even if others have waited longer.
pub async fn a_named_candidate_gets_the_leadership(bench: &Bench) {
    let first = candidate(bench, named("first")).await;
    leads(bench, &first).await;
    let waiting = candidate(bench, named("waiting")).await;
    bench.poll("two are listed", limit(bench), async || lists(&first, 2).await).await;
    let chosen = candidate(bench, named("chosen")).await;
    bench.poll("three are listed", limit(bench), async || lists(&first, 3).await).await;
    assert!(waiting.hand_over_to(id("chosen")).await.is_err(), "a candidate that does not lead handed over");
    first.hand_over_to(id("chosen")).await.expect("handed over");
    leads(bench, &chosen).await;
    assert!(!waiting.is_leader() && !first.is_leader());
}

/// A hand-over to a candidate that does not exist blocks the group only for a short time.
pub async fn a_hand_over_to_a_dead_candidate_leaves_the_group_to_the_others(bench: &Bench) {
    let first = candidate(bench, named("first")).await;
    let old = leads(bench, &first).await;
    let mut changes = election(bench).await.changes().expect("a stream");
    sees(bench, &mut changes, Some("first")).await;
    first.hand_over_to(id("nobody")).await.expect("handed over");
    let leader = first.current_leader().await.expect("the store answers");
    assert!(leader.is_none_or(|leader| leader.term > old.token()), "the former leader still leads");
    // Any candidate may win, also the former leader.
    let second = candidate(bench, named("second")).await;
    let winner = async || [&first, &second].into_iter().find_map(Candidate::leadership);
    let new = bench.poll("a candidate leads again", limit(bench), winner).await;
    assert!(new.token() > old.token());
}

/// A candidate that steps down stays away for the given time, and then campaigns again.
pub async fn a_step_down_stays_away(bench: &Bench) {
    let only = candidate(bench, named("only")).await;
    leads(bench, &only).await;
    let away = lease_duration(bench);
    // Before the step-down: it stays away at least from here on, however long the release takes.
    let since = bench.now();
    only.step_down(away).await.expect("stepped down");
    assert!(!only.is_leader());
    leads(bench, &only).await;
    let stayed = bench.now().saturating_since(since);
    assert!(stayed >= away.mul_f64(0.95), "came back after {stayed:?}");
}

/// While the best candidate stays away, the next leader does not hand the leadership over to it.
pub async fn a_step_down_of_the_best_is_one_change(bench: &Bench) {
    let best = candidate(bench, named("best").with_priority(10)).await;
    leads(bench, &best).await;
    let next = candidate(bench, named("next")).await;
    bench.poll("both are listed", limit(bench), async || lists(&best, 2).await).await;
    best.step_down(limit(bench) * 4).await.expect("stepped down");
    let term = leads(bench, &next).await.token();
    let until = bench.now() + lease_duration(bench) * 3;
    while bench.now() < until {
        let now = next.leadership().map(|term| term.token());
        assert_eq!(now, Some(term), "the next leader gave up the leadership");
        bench.sleep(bench.ttl / 20).await;
    }
}

/// A candidate can be stopped and started again. One that was not started does nothing.
pub async fn a_candidate_stops_and_starts_again(bench: &Bench) {
    let only = candidate(bench, named("only").with_start_later()).await;
    bench.sleep(bench.ttl / 2).await;
    assert!(!only.is_leader() && only.step_down(bench.ttl).await.is_err());
    for _ in 0..2 {
        only.start().expect("in a runtime");
        only.start().expect("a second start does nothing");
        leads(bench, &only).await;
        only.stop().await.expect("stopped");
        assert!(!only.is_leader());
        only.stop().await.expect("a second stop does nothing");
    }
}

/// All participants see the live candidates with their details. Dead ones disappear.
pub async fn candidates_are_listed_and_the_dead_disappear(bench: &Bench) {
    let metadata = Metadata::new([("address", "10.0.0.7:443"), ("region", "north")]).expect("valid metadata");
    let (mortal, network) = mortal(bench, "mortal / 1").await;
    leads(bench, &mortal).await;
    let second = candidate(bench, named("second").with_metadata(metadata.clone()).with_priority(-2)).await;
    bench.poll("both are listed", limit(bench), async || lists(&second, 2).await).await;
    let listed = election(bench).await.candidates().await.expect("the store answers");
    let find = |name: &str| listed.iter().find(|candidate| candidate.id == id(name)).expect("listed");
    assert!(find("mortal / 1").is_leader && !find("second").is_leader);
    assert_eq!((&find("second").metadata, find("second").priority), (&metadata, -2));
    assert!(find("second").is_fit && find("second").last_seen <= lease_duration(bench));
    network.cut();
    leads(bench, &second).await;
    bench.poll("the dead candidate disappears", limit(bench), async || lists(&second, 1).await).await;
    let leader = second.current_leader().await.expect("the store answers").expect("there is a leader");
    assert_eq!(leader.metadata, metadata, "the metadata of the leader");
}

/// Observers, which do not campaign, see each leader, with rising terms (L5).
pub async fn l05_observers_see_each_leader(bench: &Bench) {
    let mut changes = election(bench).await.changes().expect("a stream");
    let current = next(bench, &mut changes).await;
    assert!(
        matches!(current, LeadershipChange::Changed { old: None, new: None, .. }),
        "the current state: {current:?}"
    );
    let mut last = None;
    for name in ["a", "b", "c"] {
        let candidate = candidate(bench, named(name)).await;
        let term = leads(bench, &candidate).await.token();
        sees(bench, &mut changes, Some(name)).await;
        assert!(last.replace(term) < Some(term));
        candidate.stop().await.expect("stopped");
        sees(bench, &mut changes, None).await;
    }
    let mut own = candidate(bench, named("d")).await.changes().expect("a stream");
    let _ = next(bench, &mut own).await;
}

/// A slow consumer may miss changes, but never the last state (L5).
pub async fn l05_slow_consumers_see_the_last_state(bench: &Bench) {
    let mut changes = election(bench).await.changes().expect("a stream");
    let candidate = candidate(bench, named("only")).await;
    for _ in 0..3 {
        leads(bench, &candidate).await;
        candidate.stop().await.expect("stopped");
        candidate.start().expect("in a runtime");
    }
    let term = leads(bench, &candidate).await.token();
    let mut last = None;
    bench
        .expect_within("the last state", limit(bench), async {
            while last != Some(term) {
                let change = changes.next().await.expect("the stream goes on").expect("the store answers");
                let LeadershipChange::Changed { new, .. } = change else { continue };
                assert!(new.as_ref().is_none_or(|new| last <= Some(new.term)), "a term went down");
                last = new.map(|new| new.term).or(last);
            }
        })
        .await;
}

/// After an older backup was restored, observers see each leader that follows (L5).
pub async fn l05_observers_go_on_after_the_store_has_gone_back(bench: &Bench) {
    let mut changes = election(bench).await.changes().expect("a stream");
    let candidate = candidate(bench, named("only")).await;
    leads(bench, &candidate).await;
    sees(bench, &mut changes, Some("only")).await;
    candidate.stop().await.expect("stopped");
    sees(bench, &mut changes, None).await;
    if bench.back_up().await == Injection::Unsupported {
        return;
    }
    candidate.start().expect("in a runtime");
    leads(bench, &candidate).await;
    sees(bench, &mut changes, Some("only")).await;
    // Later grants are forgotten.
    bench.restore_backup().await;
    let term = bench
        .poll("a candidate leads again", limit(bench) * 2, async || {
            let term = candidate.leadership()?;
            let leader = election(bench).await.current_leader().await.ok()??;
            (leader.term == term.token()).then_some(term.token())
        })
        .await;
    bench
        .expect_within("the new term is observed", limit(bench) * 2, async {
            loop {
                let change = changes.next().await.expect("the stream goes on");
                if matches!(change, Ok(LeadershipChange::Changed { new: Some(new), .. }) if new.term == term) {
                    return;
                }
            }
        })
        .await;
}

/// An error of the store is an item of the stream, and does not end it (L5, S19).
pub async fn l05_trouble_is_an_item(bench: &Bench) {
    let candidate = candidate(bench, named("only")).await;
    leads(bench, &candidate).await;
    let chaos = bench.chaos_store().await;
    let mut changes = election_of(bench, bench.client_of(chaos.clone())).changes().expect("a stream");
    sees(bench, &mut changes, Some("only")).await;
    chaos.cut();
    let longest = Duration::from_secs(10) + limit(bench);
    let outcome = bench.expect_within("an error", longest, changes.next()).await.expect("the stream goes on");
    assert!(outcome.is_err_and(|error| error.is_transient()), "the stream did not report the error");
    chaos.heal();
    candidate.stop().await.expect("stopped");
    bench
        .expect_within("the end of the leadership", longest, async {
            while !matches!(changes.next().await, Some(Ok(LeadershipChange::Changed { new: None, .. }))) {}
        })
        .await;
}

/// The filters of a stream of changes select the changes of interest.
pub async fn l05_streams_can_be_narrowed(bench: &Bench) {
    let candidate = candidate(bench, named("only").with_start_later()).await;
    let stream = || candidate.changes().expect("a stream");
    let (until, during) = (stream().until_leader(), stream().while_leader());
    let acquired = stream().only(ChangeKind::Acquired).distinct();
    let transitions = stream().on_transition();
    tokio::pin!(until, during, acquired, transitions);
    candidate.start().expect("in a runtime");
    let term = leads(bench, &candidate).await.token();
    assert_eq!(acquired_term(&next(bench, &mut acquired).await), Some(term));
    let until: Vec<_> = bench.expect_within("the stream ends", limit(bench), until.collect::<Vec<_>>()).await;
    assert!(matches!(until.last(), Some(Ok(LeadershipChange::Acquired { .. }))), "{until:?}");
    // A store may show a grant with a smaller token before the grant is certain.
    let to_this_term = |to: &Option<Leader>| to.as_ref().is_some_and(|to| to.id == id("only") && to.term == term);
    bench
        .expect_within("the transition", limit(bench), async {
            while !matches!(transitions.next().await, Some(Ok((_, to))) if to_this_term(&to)) {}
        })
        .await;
    assert_eq!(acquired_term(&next(bench, &mut during).await), Some(term));
    candidate.stop().await.expect("stopped");
    let during: Vec<_> = bench.expect_within("the stream ends", limit(bench), during.collect::<Vec<_>>()).await;
    assert!(matches!(during.last(), Some(Ok(LeadershipChange::Lost { .. }))), "{during:?}");
}

/// The term that has begun with this change.
fn acquired_term(change: &LeadershipChange) -> Option<FencingToken> {
    match change {
        LeadershipChange::Acquired { term, .. } => Some(*term),
        _ => None,
    }
}

/// Leads with this work, in a task of its own.
fn lead<F>(candidate: &Candidate, work: impl FnMut(Term) -> F + Send + 'static) -> tokio::task::JoinHandle<()>
where
    F: Future<Output = ()> + Send,
{
    let candidate = candidate.clone();
    tokio::spawn(async move { candidate.lead(work).await })
}

/// No other candidate wins before the work of the leader has ended (S17).
pub async fn s17_nobody_wins_before_the_work_has_ended(bench: &Bench) {
    nobody_wins_before_the_work_has_ended(bench, async |first, _| first.stop().await.expect("stopped")).await;
}

/// The same when the client of the leader is closed: the work is notified, drains and ends, and only then another candidate
/// leads (S17).
pub async fn s17_a_close_under_a_leader_lets_its_work_end(bench: &Bench) {
    nobody_wins_before_the_work_has_ended(bench, async |_, client| client.close().await.expect("closed")).await;
}

async fn nobody_wins_before_the_work_has_ended(bench: &Bench, end: impl AsyncFnOnce(Candidate, LeaseClient)) {
    let client = bench.client().await;
    let first = election_of(bench, client.clone()).candidate(named("first")).expect("a valid candidate");
    let ended = Arc::new(std::sync::Mutex::new(None));
    let (clock, drains_for, recorded) = (Arc::clone(&bench.clock), bench.ttl / 2, Arc::clone(&ended));
    let work = lead(&first, move |term| {
        let (clock, recorded) = (Arc::clone(&clock), Arc::clone(&recorded));
        async move {
            term.draining().await;
            // Drains for a part of the grace period.
            clock.sleep_until(clock.now() + drains_for).await;
            *recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(clock.now());
        }
    });
    leads(bench, &first).await;
    let second = candidate(bench, named("second")).await;
    bench.poll("both are listed", limit(bench), async || lists(&second, 2).await).await;
    let stopped = bench.now();
    let ((), won) = tokio::join!(end(first.clone(), client), async {
        leads(bench, &second).await;
        bench.now()
    });
    bench.expect_soon("the work ends with its candidate", work).await.expect("no panic");
    let ended = ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).expect("the work has ended");
    assert!(
        ended.saturating_since(stopped) >= drains_for.mul_f64(0.9),
        "the work was dropped before the end of the grace period"
    );
    assert!(won >= ended, "won {:?} before the work had ended", ended.saturating_since(won));
}

/// Work that ignores the end is dropped after the grace period, and only then another candidate wins (S17).
pub async fn s17_work_that_ignores_the_end_is_dropped_after_the_grace(bench: &Bench) {
    struct Drops(Arc<dyn lease_core::Clock>, Arc<std::sync::Mutex<Option<Moment>>>);
    impl Drop for Drops {
        fn drop(&mut self) {
            *self.1.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(self.0.now());
        }
    }
    let first = candidate(bench, named("first")).await;
    let dropped = Arc::new(std::sync::Mutex::new(None));
    let (clock, recorded) = (Arc::clone(&bench.clock), Arc::clone(&dropped));
    let _work = lead(&first, move |_| {
        let ends = Drops(Arc::clone(&clock), Arc::clone(&recorded));
        async move {
            let _ends = ends;
            std::future::pending::<()>().await;
        }
    });
    leads(bench, &first).await;
    bench.sleep(bench.ttl / 4).await;
    let second = candidate(bench, named("second")).await;
    let stepped_down = bench.now();
    first.step_down(limit(bench)).await.expect("stepped down");
    leads(bench, &second).await;
    let won = bench.now();
    let dropped = dropped.lock().unwrap_or_else(std::sync::PoisonError::into_inner).expect("the work was dropped");
    let grace = options(bench).grace;
    let worked = dropped.saturating_since(stepped_down);
    assert!(worked >= grace.mul_f64(0.9), "the work was dropped before the end of the grace period");
    assert!(worked <= grace + bench.tolerance(), "the work was dropped only after {worked:?}");
    assert!(won >= dropped);
}

/// Work that cannot be dropped because `lead` is not polled keeps the lease until it expires: the lease is not released
/// (S17).
pub async fn s17_work_that_is_not_polled_keeps_the_lease_until_it_runs_out(bench: &Bench) {
    let first = candidate(bench, named("first")).await;
    let begun = Arc::new(tokio::sync::Notify::new());
    let begins = Arc::clone(&begun);
    let mut leading = Box::pin(first.lead(|_| {
        begins.notify_one();
        std::future::pending()
    }));
    tokio::select! {
        () = &mut leading => panic!("`lead` ended"),
        () = bench.expect_within("the work begins", limit(bench), begun.notified()) => {}
    }
    // From here on `lead` is not polled.
    let second = candidate(bench, named("second")).await;
    let stepping_down = bench.now();
    let stepper = first.clone();
    let away = limit(bench) * 4;
    let step_down = tokio::spawn(async move { stepper.step_down(away).await });
    let longest = options(bench).grace + lease_duration(bench) * 3 + bench.tolerance();
    bench.poll("the second candidate leads", longest, async || second.leadership()).await;
    let took = bench.now().saturating_since(stepping_down);
    assert!(took >= lease_duration(bench), "the lease was released after {took:?}, before the work had ended");
    step_down.await.expect("no panic").expect("stepped down");
    drop(leading);
}

/// Work that panics ends the leadership, and the panic reaches the caller of `lead` (S17).
pub async fn s17_panicking_work_releases_the_leadership(bench: &Bench) {
    let first = candidate(bench, named("first")).await;
    // Otherwise the second candidate may win first, and keep the leadership.
    leads(bench, &first).await;
    let work = lead(&first, |_| async { panic!("a defect in the work") });
    let second = candidate(bench, named("second")).await;
    let outcome = bench.expect_within("the panic is reported", limit(bench), work).await;
    assert!(outcome.is_err_and(|error| error.is_panic()), "the panic did not reach the caller");
    leads(bench, &second).await;
    assert!(!first.is_leader());
}

/// A candidate whose work has panicked does not lead without work, even if it is the only one.
pub async fn s17_nobody_leads_without_the_work_that_has_panicked(bench: &Bench) {
    let first = candidate(bench, named("first")).await;
    let work = lead(&first, |_| async { panic!("a defect in the work") });
    let outcome = bench.expect_within("the panic is reported", limit(bench), work).await;
    assert!(outcome.is_err_and(|error| error.is_panic()), "the panic did not reach the caller");
    bench.poll("the candidate steps down", limit(bench), async || (!first.is_leader()).then_some(())).await;
    let until = bench.now() + lease_duration(bench) * 2;
    while bench.now() < until {
        assert!(!first.is_leader(), "it leads without work");
        bench.sleep(bench.ttl / 20).await;
    }
    let second = candidate(bench, named("second")).await;
    leads(bench, &second).await;
}

/// Work that ends gives the leadership up, and runs again with the next term.
pub async fn work_that_ends_gives_the_leadership_up(bench: &Bench) {
    let only = candidate(bench, named("only")).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let work = lead(&only, move |term| {
        let count = Arc::clone(&count);
        async move {
            assert!(term.is_held() && !term.is_draining());
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let again = async || (runs.load(Ordering::SeqCst) >= 3).then_some(());
    bench.poll("the work ran three times", limit(bench) * 2, again).await;
    only.stop().await.expect("stopped");
    bench.expect_soon("lead ends with its candidate", work).await.expect("no panic");
}

/// When renewals keep failing, the work is notified a grace period before the deadline, while the lease is held (L9).
pub async fn l09_draining_begins_before_the_deadline(bench: &Bench) {
    let (first, network) = mortal(bench, "first").await;
    let drained = Arc::new(std::sync::Mutex::new(None));
    let recorded = Arc::clone(&drained);
    let work = lead(&first, move |term| {
        let recorded = Arc::clone(&recorded);
        async move {
            term.draining().await;
            *recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                Some((term.is_held(), term.lease().remaining()));
        }
    });
    let term = leads(bench, &first).await;
    network.cut();
    bench.expect_within("the end of the term", limit(bench), term.lease().lost()).await;
    let recorded = async || *drained.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (held, remaining) = bench.poll("the work is notified", limit(bench), recorded).await;
    assert!(held, "notified only after the loss");
    assert!(remaining > options(bench).grace / 4, "notified only {remaining:?} before the deadline");
    network.heal();
    first.stop().await.expect("stopped");
    bench.expect_soon("lead ends with its candidate", work).await.expect("no panic");
}

/// Candidates of many groups share a client, without effect on each other.
pub async fn groups_share_a_client(bench: &Bench) {
    let client = bench.client().await;
    let mut candidates = Vec::new();
    for group in 0..10 {
        let election =
            Election::new(client.clone(), &format!("shard/{group}"), options(bench)).expect("a valid election");
        candidates.push(election.candidate(CandidateOptions::new()).expect("a valid candidate"));
    }
    for candidate in &candidates {
        leads(bench, candidate).await;
    }
    candidates[3].stop().await.expect("stopped");
    let leading = candidates.iter().filter(|candidate| candidate.is_leader()).count();
    assert_eq!(leading, 9);
}
