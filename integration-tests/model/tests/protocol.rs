//! Every state of the protocol, with all its rules, and without some of them: then something must go wrong.

use std::{collections::BTreeSet, thread::available_parallelism};

use model::{Protocol, Rule, tell};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

const ONE_HOLDER: &str = "at most one client holds the lease";
const GRANT_IN_FORCE: &str = "who holds the lease has a grant that is in force";
const TOKENS_RISE: &str = "tokens rise";
const NONCES_SPENT: &str = "no two grants in a row have the same nonce";
const LOST_FOR_EVER: &str = "a lease that was lost stays lost";
const OVER_FOR_EVER: &str = "a grant that was over stays over";
const NO_STALE_WRITE: &str = "the resource accepts no stale write";

/// Looks at every state: nothing goes wrong, and everything that must be possible is.
fn check(protocol: Protocol, at_least: usize, impossible: &[&str]) {
    let threads = available_parallelism().map_or(1, |number| number.get());
    let checker = protocol.checker().threads(threads).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{states} states, up to {} steps from the beginning", checker.max_depth());
    for property in checker.model().properties() {
        let found = checker.discovery(property.name);
        match property.expectation {
            Expectation::Sometimes => {
                assert_eq!(found.is_none(), impossible.contains(&property.name), "is it possible: {}", property.name);
            }
            _ => assert!(found.is_none(), "broken: {}\n{}", property.name, found.map(tell).unwrap_or_default()),
        }
    }
    assert!(states > at_least, "too few states to show anything: {states}");
}

/// Looks for the shortest way to break this promise, and tells it.
fn breaks(protocol: Protocol, promise: &'static str) {
    let without = protocol.without.clone();
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([promise]));
    let checker = protocol.checker().finish_when(wanted).spawn_bfs().join();
    let story = checker.discovery(promise).map(tell);
    let story = story.unwrap_or_else(|| panic!("without {without:?} it still holds: {promise}"));
    println!("without {without:?}, broken: {promise}\n{story}");
}

/// Looks at every state without these rules: this promise holds all the same.
fn holds(protocol: Protocol, promise: &'static str) {
    let without = protocol.without.clone();
    let broken = HasDiscoveries::AllOf(BTreeSet::from([promise]));
    let checker = protocol.checker().finish_when(broken).spawn_bfs().join();
    let story = checker.discovery(promise).map(tell);
    assert_eq!(story, None, "without {without:?}, broken: {promise}");
}

#[test]
fn with_all_rules_nothing_goes_wrong_in_two_tenures() {
    check(Protocol::of_two_tenures(), 400_000, &[]);
}

#[test]
fn with_all_rules_nothing_goes_wrong_in_three_tenures() {
    let nobody_writes = "a stale write is under way to a resource that will refuse it";
    check(Protocol::of_three_tenures(), 800_000, &[nobody_writes]);
}

#[test]
fn s01_counting_from_the_answer_makes_two_holders() {
    breaks(Protocol::of_two_tenures().without(Rule::DeadlineCountsFromTheRequest), ONE_HOLDER);
}

#[test]
fn s01_s02_trusting_the_clock_s_rate_makes_two_holders() {
    breaks(Protocol::of_two_tenures().without(Rule::DeadlineAllowsForDrift), ONE_HOLDER);
}

#[test]
fn s04_an_answer_after_the_deadline_must_not_count() {
    breaks(Protocol::of_two_tenures().without(Rule::DeadlineIsFinal), LOST_FOR_EVER);
}

#[test]
fn s07_a_renewal_that_revives_brings_back_what_was_over() {
    breaks(Protocol::of_two_tenures().without(Rule::NoRenewalRevives), OVER_FOR_EVER);
}

/// Two rules stand between a renewal that comes too late and two holders: each alone is enough, and without both there are.
#[test]
fn s04_s07_renewing_for_a_stranger_makes_two_holders() {
    let protocol = Protocol::of_two_tenures;
    breaks(protocol().without(Rule::OnlyTheOwnerRenews).without(Rule::DeadlineIsFinal), ONE_HOLDER);
    holds(protocol().without(Rule::OnlyTheOwnerRenews), ONE_HOLDER);
    holds(protocol().without(Rule::DeadlineIsFinal), ONE_HOLDER);
}

#[test]
fn s08_trusting_in_a_renewal_without_an_answer_makes_two_holders() {
    breaks(Protocol::of_two_tenures().without(Rule::UnknownRenewalKeepsTheDeadline), ONE_HOLDER);
}

#[test]
fn s09_a_token_that_ends_with_its_grant_comes_again() {
    breaks(Protocol::of_two_tenures().without(Rule::TokenSurvivesTheGrant), TOKENS_RISE);
    // And then the resource cannot tell.
    breaks(Protocol::of_two_tenures().without(Rule::TokenSurvivesTheGrant), NO_STALE_WRITE);
}

#[test]
fn s11_a_release_by_a_stranger_makes_two_holders() {
    breaks(Protocol::of_three_tenures().without(Rule::OnlyTheOwnerReleases), ONE_HOLDER);
}

#[test]
fn s12_a_guard_that_is_released_before_it_is_latched_makes_two_holders() {
    breaks(Protocol::of_two_tenures().without(Rule::LatchBeforeRelease), ONE_HOLDER);
}

#[test]
fn s13_a_nonce_that_is_not_spent_brings_a_grant_for_nobody() {
    breaks(Protocol::of_two_tenures().without(Rule::NoncesAreSpent), NONCES_SPENT);
}

/// Exclusion is not enough: a write that was sent in time may arrive too late.
#[test]
fn without_checking_tokens_a_stale_write_is_accepted() {
    breaks(Protocol::of_two_tenures().without(Rule::ResourceChecksTokens), NO_STALE_WRITE);
}

/// What `at most one holder` rests on is seen by itself, too.
#[test]
fn a_holder_without_a_grant_is_seen_before_there_are_two() {
    breaks(Protocol::of_two_tenures().without(Rule::DeadlineCountsFromTheRequest), GRANT_IN_FORCE);
}
