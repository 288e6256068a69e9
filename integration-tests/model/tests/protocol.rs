//! Checks every state of the protocol with all rules, and that a violation is found without some of them.

use std::{collections::BTreeSet, thread::available_parallelism};

use model::{Protocol, Rule, describe};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

const ONE_HOLDER: &str = "at most one client holds the lease";
const GRANT_IN_FORCE: &str = "who holds the lease has a grant that is in force";
const TOKENS_RISE: &str = "tokens rise";
const NONCES_SPENT: &str = "no two grants in a row have the same nonce";
const LOST_FOR_EVER: &str = "a lease that was lost stays lost";
const OVER_FOR_EVER: &str = "a grant that was over stays over";
const NO_STALE_WRITE: &str = "the resource accepts no stale write";

/// Checks every state: there is no violation, and all states that must be reachable are, but for the `impossible` ones.
fn check(protocol: Protocol, at_least: usize, impossible: &[&str]) {
    let threads = available_parallelism().map_or(1, |number| number.get());
    let checker = protocol.checker().threads(threads).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{states} states, up to {} steps from the beginning", checker.max_depth());
    for property in checker.model().properties() {
        let found = checker.discovery(property.name);
        match property.expectation {
            Expectation::Sometimes => {
                assert_eq!(
                    found.is_none(),
                    impossible.contains(&property.name),
                    "unexpected reachability: {}",
                    property.name
                );
            }
            _ => assert!(found.is_none(), "violated: {}\n{}", property.name, found.map(describe).unwrap_or_default()),
        }
    }
    assert!(states > at_least, "too few states for a result: {states}");
}

/// Finds and prints the shortest path to a violation of this property.
fn assert_violated(protocol: Protocol, property: &'static str) {
    let without = protocol.without.clone();
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let checker = protocol.checker().finish_when(wanted).spawn_bfs().join();
    let path = checker.discovery(property).map(describe);
    let path = path.unwrap_or_else(|| panic!("without {without:?} this property still holds: {property}"));
    println!("without {without:?}, violated: {property}\n{path}");
}

/// Checks every state without these rules: the property still holds.
fn assert_holds(protocol: Protocol, property: &'static str) {
    let without = protocol.without.clone();
    let broken = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let checker = protocol.checker().finish_when(broken).spawn_bfs().join();
    let path = checker.discovery(property).map(describe);
    assert_eq!(path, None, "without {without:?}, violated: {property}");
}

#[test]
fn two_tenures_with_all_rules_have_no_violation() {
    check(Protocol::of_two_tenures(), 400_000, &[]);
}

#[test]
fn three_tenures_with_all_rules_have_no_violation() {
    let nobody_writes = "a stale write is under way to a resource that will refuse it";
    check(Protocol::of_three_tenures(), 800_000, &[nobody_writes]);
}

#[test]
fn s01_counting_from_the_answer_makes_two_holders() {
    assert_violated(Protocol::of_two_tenures().without(Rule::DeadlineCountsFromTheRequest), ONE_HOLDER);
}

#[test]
fn s01_s02_ignoring_the_error_of_the_clocks_rate_makes_two_holders() {
    assert_violated(Protocol::of_two_tenures().without(Rule::DeadlineAllowsForDrift), ONE_HOLDER);
}

#[test]
fn s04_an_answer_after_the_deadline_must_not_count() {
    assert_violated(Protocol::of_two_tenures().without(Rule::DeadlineIsFinal), LOST_FOR_EVER);
}

#[test]
fn s07_a_renewal_without_a_check_revives_an_expired_grant() {
    assert_violated(Protocol::of_two_tenures().without(Rule::NoRenewalRevives), OVER_FOR_EVER);
}

/// Two rules prevent that a late renewal makes two holders: each is sufficient, and without both there are two.
#[test]
fn s04_s07_a_renewal_by_another_owner_makes_two_holders() {
    let protocol = Protocol::of_two_tenures;
    assert_violated(protocol().without(Rule::OnlyTheOwnerRenews).without(Rule::DeadlineIsFinal), ONE_HOLDER);
    assert_holds(protocol().without(Rule::OnlyTheOwnerRenews), ONE_HOLDER);
    assert_holds(protocol().without(Rule::DeadlineIsFinal), ONE_HOLDER);
}

#[test]
fn s08_assuming_the_success_of_an_unanswered_renewal_makes_two_holders() {
    assert_violated(Protocol::of_two_tenures().without(Rule::UnknownRenewalKeepsTheDeadline), ONE_HOLDER);
}

#[test]
fn s09_a_token_that_ends_with_its_grant_is_repeated() {
    assert_violated(Protocol::of_two_tenures().without(Rule::TokenSurvivesTheGrant), TOKENS_RISE);
    // Then the resource cannot distinguish the holders.
    assert_violated(Protocol::of_two_tenures().without(Rule::TokenSurvivesTheGrant), NO_STALE_WRITE);
}

#[test]
fn s11_a_release_by_another_owner_makes_two_holders() {
    assert_violated(Protocol::of_three_tenures().without(Rule::OnlyTheOwnerReleases), ONE_HOLDER);
}

#[test]
fn s12_a_guard_that_is_released_before_it_is_latched_makes_two_holders() {
    assert_violated(Protocol::of_two_tenures().without(Rule::LatchBeforeRelease), ONE_HOLDER);
}

#[test]
fn s13_a_nonce_that_is_not_spent_makes_a_grant_without_a_guard() {
    assert_violated(Protocol::of_two_tenures().without(Rule::NoncesAreSpent), NONCES_SPENT);
}

/// Exclusion is not enough: a write that was sent in time may arrive too late.
#[test]
fn without_checking_tokens_a_stale_write_is_accepted() {
    assert_violated(Protocol::of_two_tenures().without(Rule::ResourceChecksTokens), NO_STALE_WRITE);
}

/// The property behind `at most one holder` is checked by itself, too.
#[test]
fn a_holder_without_a_grant_is_found_before_there_are_two() {
    assert_violated(Protocol::of_two_tenures().without(Rule::DeadlineCountsFromTheRequest), GRANT_IN_FORCE);
}
