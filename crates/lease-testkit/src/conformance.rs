//! The list of all cases. The macro is its only copy.

/// Generates one test for each guarantee of a store, named after it. None is ever skipped.
///
/// * `conformance!(paused, MemoryHarness::new)` runs each case in paused tokio time, on one thread. For stores that do no
///   I/O.
/// * `conformance!(real, PostgresHarness::start)` runs each case in real time, on several threads, against a real server.
///
/// The second argument is a function without arguments that makes a [`Harness`](crate::Harness), `async` or not.
///
/// The cases for single requests run once more in a module `between_neighbours`, which sends each request between two others
/// in one call. Therefore use the macro in a file or module of its own, and name the function by a path that does not begin
/// with `super` or `self`.
#[macro_export]
macro_rules! conformance {
    (paused, $harness:expr) => {
        $crate::conformance!(@all paused, $harness);
    };
    (real, $harness:expr) => {
        $crate::conformance!(@all real, $harness);
    };
    (@all $flavour:ident, $harness:expr) => {
        $crate::conformance!(@operations @tests $flavour, $harness,);
        $crate::conformance!(@rest @tests $flavour, $harness,);

        /// The cases for single requests, each request between two others in one call.
        mod between_neighbours {
            #[allow(unused_imports, reason = "imports the path of the harness")]
            use super::*;

            $crate::conformance!(@operations @between_neighbours $flavour, $harness,);
        }
    };
    (@between_neighbours $flavour:ident, $harness:expr, $($module:ident::$case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                $crate::run::$flavour($harness, $crate::run::between_neighbours($crate::cases::$module::$case));
            }
        )*
    };
    (@tests $flavour:ident, $harness:expr, $($module:ident::$case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                $crate::run::$flavour($harness, $crate::cases::$module::$case);
            }
        )*
    };
    (@names $($module:ident::$case:ident,)*) => {
        &[$(stringify!($case)),*]
    };
    // The cases for single requests, which run once more within a batch.
    (@operations $($into:tt)*) => {
        $crate::conformance! {
            $($into)*
            granting::a_free_name_is_granted,
            granting::s14_a_held_name_is_refused,
            granting::s14_exactly_one_of_many_concurrent_acquirers_wins,
            granting::s01_nobody_gets_the_name_before_what_is_left_has_passed,
            granting::s01_nobody_gets_the_name_before_a_renewal_has_passed,
            granting::s01_nobody_gets_the_name_before_what_a_late_answer_promised_has_passed,
            granting::s01_no_more_than_the_ttl_is_left_after_the_servers_clock_went_back,
            granting::s02_a_newcomer_takes_over_only_what_it_has_watched,
            granting::s03_all_processes_see_one_expiry,
            granting::s09_tokens_rise_over_releases,
            granting::s09_tokens_rise_over_expiry,
            granting::s09_tokens_rise_over_a_break,
            granting::s09_a_token_stays_the_same_within_a_grant,
            granting::s10_tokens_rise_after_the_record_was_removed,
            granting::s09_tokens_rise_over_a_restart,
            granting::s23_a_ttl_beyond_the_limits_is_an_error,
            granting::capabilities_make_sense,
            renewing::s07_a_renewed_lease_outlives_its_ttl,
            renewing::s07_a_renewal_never_revives_an_expired_lease,
            renewing::s07_a_renewal_never_revives_a_released_lease,
            renewing::s07_a_strangers_renewal_changes_nothing,
            renewing::s07_a_renewal_never_shortens,
            renewing::s07_a_renewal_by_another_process_never_shortens,
            renewing::s07_a_renewal_after_a_take_over_is_refused,
            renewing::s07_a_renewal_of_an_unknown_name_is_refused,
            renewing::metadata_is_kept_with_the_grant,
            renewing::metadata_of_the_higher_revision_stays,
            renewing::metadata_ends_with_its_grant,
            renewing::s07_metadata_needs_the_lease,
            releasing::s11_a_release_frees_at_once,
            releasing::s11_a_release_is_idempotent,
            releasing::s11_a_release_needs_no_answer_of_the_acquire,
            releasing::s11_a_release_never_frees_a_successor,
            releasing::s11_a_release_never_frees_the_next_grant_of_its_holder,
            releasing::s11_a_strangers_release_changes_nothing,
            releasing::s11_a_release_after_expiry_is_not_held,
            releasing::s11_hold_for_keeps_the_name_blocked,
            releasing::s11_reserved_for_lets_the_successor_in,
            releasing::s11_a_reservation_ends,
            releasing::s11_a_reservation_is_over_when_its_successor_came,
            releasing::s11_a_release_of_an_unknown_name_is_not_held,
            repeating::s13_a_repeated_request_meets_its_own_grant,
            repeating::s13_a_repeated_request_tells_the_truth_about_what_is_left,
            repeating::s13_a_nonce_is_spent_after_its_release,
            repeating::s13_a_nonce_is_spent_after_its_expiry,
            repeating::s13_a_nonce_is_spent_after_a_break,
            repeating::s13_a_duplicate_meets_its_successor_and_gets_nothing,
            repeating::s14_two_nonces_of_one_holder_are_two_owners,
            repeating::s14_a_nonce_is_of_one_holder,
            breaking::s22_a_break_must_name_the_token,
            breaking::s22_a_break_after_expiry_keeps_exclusion,
            breaking::s22_a_broken_grant_cannot_be_released,
            breaking::s22_a_break_now_frees_at_once,
            breaking::s22_a_break_never_hits_a_successor,
            breaking::s22_only_a_grant_in_force_can_be_broken,
            breaking::s22_a_break_racing_an_expiry_hits_only_its_grant,
            naming::s21_names_are_byte_exact,
            naming::s21_holders_are_byte_exact,
            locking::s07_a_renewal_that_waited_past_the_expiry_revives_nothing,
            locking::s11_a_release_that_waited_past_the_expiry_is_not_held,
            locking::s22_a_break_that_waited_past_the_expiry_is_not_held,
            locking::s07_a_renewal_that_waited_for_its_loss_is_refused,
            locking::s09_a_grant_that_waited_for_a_deletion_has_a_greater_token,
            rolling::s09_tokens_rise_over_any_history,
        }
    };
    (@rest $($into:tt)*) => {
        $crate::conformance! {
            $($into)*
            looking::an_inspection_says_who_holds_the_lease,
            looking::an_inspection_changes_nothing,
            looking::a_free_name_has_no_record,
            looking::a_list_has_the_leases_of_a_prefix_in_order,
            looking::a_list_comes_in_pages,
            looking::a_list_has_no_lease_that_has_ended,
            looking::s21_a_prefix_is_no_pattern,
            naming::s21_names_are_byte_exact_in_a_batch,
            batching::an_empty_batch_has_no_answers,
            batching::a_full_batch_is_answered_in_order,
            batching::acquires_of_every_outcome_in_one_batch,
            batching::s07_renewals_of_every_outcome_in_one_batch,
            batching::s11_releases_of_every_outcome_in_one_batch,
            batching::l07_a_poisonous_element_fails_alone,
            batching::s14_crossing_batches_have_one_winner_a_name,
            batching::s12_no_renewal_after_a_release_when_batches_cross,
            batching::s13_a_repeated_batch_meets_its_own_grants,
            renewing::s07_a_renewal_that_arrives_after_the_expiry,
            locking::l07_a_locked_element_fails_alone,
            crashing::s01_a_grant_outlives_a_crash_of_the_server,
            crashing::s01_a_renewal_outlives_a_crash_of_the_server,
            crashing::s09_tokens_rise_after_an_older_backup_was_put_back,
            mixing::s25_mixed_up_answers_grant_nothing,
            mixing::s25_mixed_up_answers_renew_nothing,
            mixing::s25_mixed_up_answers_show_no_other_lease,
            waking::s20_the_first_hint_comes_with_the_subscription,
            waking::l01_a_release_is_hinted,
            waking::l01_a_release_in_a_batch_is_hinted,
            waking::l01_a_hand_over_is_hinted,
            waking::s22_a_break_is_hinted,
            waking::an_announced_grant_is_hinted,
            waking::l01_every_release_is_hinted,
            waking::s20_subscriptions_come_and_go,
            waking::s20_a_subscription_hints_again_after_a_cut,
            failing::s19_a_store_that_is_cut_off_says_nothing,
            failing::s19_a_store_that_is_frozen_says_nothing,
            failing::s19_a_lease_outlives_a_cut,
            failing::s13_what_was_perhaps_done_is_indeterminate,
            failing::s13_an_acquire_lost_in_a_freeze_is_owned_or_free,
            deadlines::s01_a_late_answer_shortens_the_deadline,
            deadlines::s01_a_retry_counts_from_what_is_left,
            deadlines::s03_clients_whose_clocks_differ_by_a_day_agree,
            deadlines::s04_asking_a_lease_asks_no_store,
            deadlines::s04_a_deadline_that_has_passed_is_latched,
            deadlines::s05_loss_is_signalled_though_no_call_returns,
            deadlines::s05_loss_is_signalled_when_the_store_is_cut_off,
            deadlines::s05_work_stops_before_its_next_poll,
            deadlines::s08_a_lease_survives_lost_answers,
            deadlines::s08_an_unknown_renewal_keeps_the_old_deadline,
            deadlines::s08_a_late_renewal_answer_shortens_the_deadline,
            deadlines::s18_time_spent_suspended_is_time_spent,
            losing::s06_transient_failures_are_no_loss,
            losing::s06_a_definite_no_is_a_loss_at_once,
            losing::s06_a_holder_is_notified_by_push_where_the_store_does,
            losing::l06_a_take_over_is_reported,
            losing::l09_jeopardy_comes_and_goes,
            losing::l06_a_loss_is_reported_once_with_its_reason,
            losing::l07_a_poisonous_item_cannot_expire_the_others,
            losing::l07_a_hanging_item_cannot_expire_the_others,
            losing::l07_a_lease_that_a_hundred_clients_try_for_is_renewed_as_one_that_nobody_wants,
            losing::l07_many_leases_share_few_renewals,
            keeping::max_tenure_ends_a_lease,
            keeping::a_lease_renewed_by_hand_lives_as_long_as_that,
            keeping::metadata_can_be_changed,
            trying::s14_two_guards_of_one_client_exclude_each_other,
            trying::s13_a_lost_answer_costs_no_ttl,
            trying::s13_a_delayed_duplicate_grants_nothing,
            trying::s19_a_client_never_takes_silence_for_an_answer,
            trying::s19_clients_get_on_after_a_restart,
            trying::s22_a_break_after_expiry_excludes_until_the_holder_has_seen_it,
            trying::s09_the_history_of_many_clients_is_sound,
            trying::s11_a_client_releases_what_it_acquired,
            waiting::s19_a_waiter_outlives_a_cut,
            waiting::a_wait_limit_is_kept,
            waiting::l01_a_waiter_wins_as_soon_as_the_lease_is_released,
            waiting::l01_a_waiter_wins_after_a_crash_of_the_holder,
            waiting::s20_lost_hints_cost_only_time,
            waiting::s20_forged_hints_grant_nothing,
            waiting::l02_one_process_sends_one_contender,
            waiting::l02_waiters_of_one_process_are_served_in_order,
            waiting::l02_a_waiter_that_has_gone_holds_up_nobody,
            waiting::l02_a_try_never_queues,
            waiting::l04_a_waiter_ends_when_its_client_is_closed,
            watching::l05_a_watch_shows_the_current_state_and_then_the_latest,
            watching::l05_a_watch_shows_trouble_and_goes_on,
            leaving::s12_a_guard_is_lost_before_its_release_is_sent,
            leaving::s12_no_renewal_takes_effect_after_the_release,
            leaving::s15_a_dropped_acquire_leaves_no_grant,
            leaving::s15_a_dropped_wait_leaves_no_grant,
            leaving::s15_an_acquire_under_way_at_the_close_leaves_no_grant,
            leaving::s15_a_dropped_release_is_finished,
            leaving::s16_a_failed_release_is_repeated,
            leaving::s16_a_dropped_guard_is_released,
            leaving::hold_at_least_keeps_the_name_blocked,
            leaving::a_hand_over_reaches_its_successor,
            leaving::an_abandoned_lease_runs_out,
            scoping::s17_a_scope_runs_its_work_and_releases,
            scoping::s17_work_is_dropped_at_the_loss,
            scoping::s17_a_dropped_scope_drains_before_it_releases,
            scoping::s17_close_waits_for_scopes_and_releases_everything,
            scoping::s17_close_drops_work_after_the_grace,
            scoping::s17_close_ends_though_the_store_is_frozen,
            loading::operations_under_load_share_their_calls,
            loading::s24_hanging_calls_are_bounded_and_given_up,
            loading::s24_a_healthy_name_is_not_held_up_by_a_hanging_one,
        }
    };
}

/// The names of all cases of [`conformance!`](crate::conformance!), in order.
pub const CASES: &[&str] = &all();

const OPERATIONS: &[&str] = conformance!(@operations @names);
const REST: &[&str] = conformance!(@rest @names);

const fn all() -> [&'static str; OPERATIONS.len() + REST.len()] {
    let mut cases = [""; OPERATIONS.len() + REST.len()];
    let (operations, rest) = cases.split_at_mut(OPERATIONS.len());
    operations.copy_from_slice(OPERATIONS);
    rest.copy_from_slice(REST);
    cases
}

#[cfg(test)]
mod tests {
    use super::CASES;

    #[test]
    fn every_case_that_is_written_is_listed() {
        let sources = [
            include_str!("cases/granting.rs"),
            include_str!("cases/renewing.rs"),
            include_str!("cases/releasing.rs"),
            include_str!("cases/repeating.rs"),
            include_str!("cases/breaking.rs"),
            include_str!("cases/looking.rs"),
            include_str!("cases/naming.rs"),
            include_str!("cases/batching.rs"),
            include_str!("cases/rolling.rs"),
            include_str!("cases/waking.rs"),
            include_str!("cases/failing.rs"),
            include_str!("cases/crashing.rs"),
            include_str!("cases/locking.rs"),
            include_str!("cases/deadlines.rs"),
            include_str!("cases/losing.rs"),
            include_str!("cases/mixing.rs"),
            include_str!("cases/keeping.rs"),
            include_str!("cases/trying.rs"),
            include_str!("cases/waiting.rs"),
            include_str!("cases/watching.rs"),
            include_str!("cases/leaving.rs"),
            include_str!("cases/scoping.rs"),
            include_str!("cases/loading.rs"),
        ];
        let written =
            sources.iter().flat_map(|source| source.lines().filter_map(|line| line.strip_prefix("pub async fn ")));
        let mut written: Vec<_> = written.filter_map(|line| line.split('(').next()).collect();
        let mut listed = CASES.to_vec();
        written.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, written);
        assert!(CASES.len() >= 50, "{}", CASES.len());
    }
}
