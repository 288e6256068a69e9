//! The list of all cases of an election, over any store.

/// Generates one test for each guarantee of `lease-election`, over a provider. Takes the same arguments as
/// [`conformance!`](crate::conformance!).
#[macro_export]
macro_rules! elections {
    ($flavour:ident, $harness:expr) => {
        $crate::elections!(@list @tests $flavour, $harness,);
    };
    (@list $($into:tt)*) => {
        $crate::conformance! {
            $($into)*
            electing::exactly_one_candidate_leads,
            electing::a_crash_is_followed_by_another_leader,
            electing::l08_checks_of_health_do_not_hold_up_the_fail_over,
            electing::a_clean_stop_hands_over_at_once,
            electing::l08_an_unhealthy_leader_steps_down_and_a_healthy_one_follows,
            electing::l08_nobody_leads_when_nobody_is_healthy,
            electing::l08_a_check_decides_about_health,
            electing::a_better_candidate_takes_over_in_order,
            electing::ties_stay_with_the_leader,
            electing::a_named_candidate_gets_the_leadership,
            electing::a_hand_over_to_a_dead_candidate_leaves_the_group_to_the_others,
            electing::a_step_down_stays_away,
            electing::a_step_down_of_the_best_is_one_change,
            electing::a_candidate_stops_and_starts_again,
            electing::candidates_are_listed_and_the_dead_disappear,
            electing::l05_observers_see_each_leader,
            electing::l05_slow_consumers_see_the_last_state,
            electing::l05_observers_go_on_after_the_store_has_gone_back,
            electing::l05_trouble_is_an_item,
            electing::l05_streams_can_be_narrowed,
            electing::s17_nobody_wins_before_the_work_has_ended,
            electing::s17_a_close_under_a_leader_lets_its_work_end,
            electing::s17_work_that_ignores_the_end_is_dropped_after_the_grace,
            electing::s17_work_that_is_not_polled_keeps_the_lease_until_it_runs_out,
            electing::s17_panicking_work_releases_the_leadership,
            electing::s17_nobody_leads_without_the_work_that_has_panicked,
            electing::work_that_ends_gives_the_leadership_up,
            electing::l09_draining_begins_before_the_deadline,
            electing::groups_share_a_client,
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_that_is_written_is_listed() {
        let mut listed: Vec<&str> = elections!(@list @names).to_vec();
        let source = include_str!("cases/electing.rs").lines();
        let cases = source.filter_map(|line| line.strip_prefix("pub async fn "));
        let mut written: Vec<_> = cases.filter_map(|line| line.split('(').next()).collect();
        listed.sort_unstable();
        written.sort_unstable();
        assert_eq!(listed, written);
    }
}
