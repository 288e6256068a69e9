//! C8: a checker that cannot fail proves nothing. Each test makes a sound recording unsound in one way, and exactly the check
//! for it must fail.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{collections::BTreeSet, fs, path::PathBuf};

use proptest::prelude::*;
use support::*;
use torture::{
    check::{
        Check, Verdict, ambiguity::NOTICE_ALLOWANCE, figures::Quantiles, judge, losses::SIGNAL_ALLOWANCE,
        recording::ReadError, recording::Recording,
    },
    record::{Case, Degradation, Entry, Event, FROZEN, KILLED, Sabotage},
};

fn verdict(entries: Vec<Entry>) -> Verdict {
    verdict_in(case(), entries)
}

fn verdict_in(case: Case, entries: Vec<Entry>) -> Verdict {
    Verdict::of(&Recording::new(case, entries).unwrap())
}

fn checks(verdict: &Verdict) -> BTreeSet<Check> {
    verdict.violations.iter().map(|violation| violation.check).collect()
}

/// Changes the first entry with this event.
fn change(entries: &mut [Entry], event: &Event, change: impl FnOnce(&mut Entry)) {
    change(entries.iter_mut().find(|entry| entry.event == *event).unwrap());
}

fn remove(entries: &mut Vec<Entry>, event: &Event) {
    let index = entries.iter().position(|entry| entry.event == *event).unwrap();
    entries.remove(index);
}

/// Asserts that exactly this check fails after this change of the sound recording.
#[track_caller]
fn assert_caught_by(check: Check, unsound: impl FnOnce(&mut Vec<Entry>)) {
    let mut entries = sound();
    unsound(&mut entries);
    let verdict = verdict(entries);
    assert_eq!(checks(&verdict), BTreeSet::from([check]), "{:#?}", verdict.violations);
    assert!(!verdict.passed());
}

#[test]
fn a_sound_recording_passes() {
    let verdict = verdict(sound());
    assert_eq!(verdict.violations, []);
    assert!(verdict.passed());
    let figures = verdict.figures;
    assert_eq!((figures.grants, figures.largest_overlap, figures.token_regressions), (4, 0, 0));
    assert_eq!((figures.writes_accepted, figures.writes_refused), (4, 1));
    let milliseconds = |nanoseconds: i64| nanoseconds as f64 / MILLISECOND as f64;
    // Token 12 was lost at 1740, and the next grant was at 1850.
    assert_eq!(figures.smallest_margin.map(milliseconds), Some(110.0));
    // The worker was frozen at the deadline, so the signal was due when it could run again.
    assert_eq!(figures.signal_lateness.map(|of| (of.count, milliseconds(of.max))), Some((1, 1.0)));
    // The last answer for token 12 was at 805, for token 13 at 2200.
    let take_over = figures.take_over_after_ttl.unwrap();
    assert_eq!((take_over.count, milliseconds(take_over.p50), milliseconds(take_over.max)), (2, 45.0, 1_500.0));
    assert_eq!(figures.hand_over.map(|of| (of.count, milliseconds(of.max))), Some((1, 5.0)));
    assert_eq!(figures.acquired_after_healing.map(|of| milliseconds(of.max)), Some(1_700.0));
    let held = 0.780 + 0.935 + 1.290 + 0.400;
    assert!((figures.requests_per_lease_second.unwrap() - 3.0 / held).abs() < 1e-9);
    assert_eq!(figures.counts["descriptors"], (20, 19));
    assert_eq!(figures.counts["tasks"], (9, 9));
}

#[test]
fn a_hand_over_is_from_a_release_to_a_waiter() {
    let hand_over = |change: fn(&mut Vec<Entry>)| {
        let mut entries = sound();
        change(&mut entries);
        verdict(entries).figures.hand_over
    };
    assert!(hand_over(|_| ()).is_some());
    assert_eq!(hand_over(|entries| change(entries, &released(11), |entry| entry.event = not_held(11))), None);
    // Worker 2 begins its attempt after the release.
    assert_eq!(hand_over(|entries| change(entries, &releasing(11), |entry| entry.at = 29 * MILLISECOND)), None);
}

#[test]
fn quantiles_are_values_of_the_sample() {
    let of = |values: std::ops::RangeInclusive<i64>| {
        Quantiles::of(values.rev()).map(|of| (of.count, of.p50, of.p99, of.max))
    };
    assert_eq!(of(1..=100), Some((100, 50, 99, 100)));
    assert_eq!(of(1..=101), Some((101, 51, 100, 101)));
    assert_eq!(of(-3..=-3), Some((1, -3, -3, -3)));
    assert_eq!(Quantiles::of([]), None);
}

#[test]
fn c0_an_empty_recording_is_caught() {
    assert!(checks(&verdict(vec![])).contains(&Check::Wholeness));
    let quiet = vec![entry(0, "worker-1", counted("tasks", "x", 1)), entry(1, "worker-1", counted("tasks", "x", 1))];
    let verdict = verdict(quiet);
    assert_eq!(checks(&verdict), BTreeSet::from([Check::Wholeness]));
    assert_eq!(verdict.violations.len(), 2, "there is neither a grant nor a write: {:?}", verdict.violations);
}

#[test]
fn c0_a_token_that_was_never_granted_is_caught() {
    assert_caught_by(Check::Wholeness, |entries| {
        entries.push(entry(4_850, "resource", accepted(16, "worker-2")));
    });
    assert_caught_by(Check::Wholeness, |entries| {
        change(entries, &accepted(12, "worker-2"), |entry| entry.event = accepted(12, "worker-1"));
    });
}

#[test]
fn c0_an_unused_resource_is_caught() {
    let mut entries = sound();
    entries.retain(|entry| entry.by != "resource");
    assert_eq!(checks(&verdict(entries)), BTreeSet::from([Check::Wholeness]));
}

#[test]
fn c1_an_overlap_of_a_nanosecond_is_caught() {
    let at_the_deadline = |entries: &mut Vec<Entry>| {
        change(entries, &granted(1, 13, 2_790), |entry| entry.at = 1_740 * MILLISECOND);
    };
    let mut entries = sound();
    at_the_deadline(&mut entries);
    assert!(verdict(entries.clone()).passed());
    change(&mut entries, &granted(1, 13, 2_790), |entry| entry.at -= 1);
    let verdict = verdict(entries);
    assert_eq!(checks(&verdict), BTreeSet::from([Check::Exclusion]));
    assert_eq!((verdict.figures.largest_overlap, verdict.figures.smallest_margin), (1, Some(-1)));
}

#[test]
fn c1_a_tenure_that_ends_after_the_release_is_caught() {
    assert_caught_by(Check::Exclusion, |entries| {
        change(entries, &releasing(11), |entry| entry.at = 806 * MILLISECOND);
    });
}

#[test]
fn c1_a_renewal_without_a_line_counts_by_the_deadline_of_its_loss() {
    assert_caught_by(Check::Exclusion, |entries| {
        change(entries, &lost(12, 1_740), |entry| entry.event = lost(12, 1_851));
    });
}

#[test]
fn c1_an_overlap_is_no_violation_where_it_is_the_documented_degradation() {
    let documented = Case { degradation: Some(Degradation::Overlap), ..case() };
    let mut entries = sound();
    change(&mut entries, &releasing(11), |entry| entry.at = 806 * MILLISECOND);
    let verdict = verdict_in(documented.clone(), entries.clone());
    assert_eq!((verdict.passed(), verdict.degradations.len(), verdict.figures.largest_overlap), (true, 1, MILLISECOND));
    // Tokens still order the holders, and the resource is safe.
    change(&mut entries, &accepted(15, "worker-2"), |entry| entry.event = accepted(12, "worker-2"));
    assert_eq!(checks(&verdict_in(documented.clone(), entries)), BTreeSet::from([Check::Fencing]));
    let mut entries = sound();
    repeat_token_13(&mut entries);
    assert_eq!(checks(&verdict_in(documented, entries)), BTreeSet::from([Check::Tokens]));
}

/// Gives the last grant the token of the previous one.
fn repeat_token_13(entries: &mut [Entry]) {
    for (old, new) in [
        (granted(4, 15, 5_640), granted(4, 13, 5_640)),
        (renewed(15, 5_940), renewed(13, 5_940)),
        (releasing(15), releasing(13)),
        (released(15), released(13)),
        (accepted(15, "worker-2"), accepted(13, "worker-2")),
    ] {
        change(entries, &old, |entry| entry.event = new);
    }
}

#[test]
fn c2_a_token_that_repeats_is_caught() {
    assert_caught_by(Check::Tokens, |entries| repeat_token_13(entries));
}

#[test]
fn c2_a_token_that_falls_is_caught() {
    // The resource gets no writes with these tokens: the check of fencing would fail, too.
    assert_caught_by(Check::Tokens, |entries| {
        remove(entries, &accepted(15, "worker-2"));
        for (old, new) in [
            (granted(4, 15, 5_640), granted(4, 10, 5_640)),
            (renewed(15, 5_940), renewed(10, 5_940)),
            (releasing(15), releasing(10)),
            (released(15), released(10)),
        ] {
            change(entries, &old, |entry| entry.event = new);
        }
    });
}

#[test]
fn c2_grants_of_two_servers_at_the_same_time_have_no_order() {
    // An overlap with token 15, whose answer came at 4700.
    let fallen = |deadline| {
        let documented = Case { degradation: Some(Degradation::Overlap), ..case() };
        let mut entries = sound();
        entries.extend([
            entry(4_650, "worker-1", asked(2)),
            entry(4_710, "worker-1", granted(2, 14, deadline)),
            entry(4_720, "worker-1", releasing(14)),
            entry(4_730, "worker-1", released(14)),
        ]);
        let verdict = verdict_in(documented, entries);
        assert!(!verdict.degradations.is_empty());
        checks(&verdict)
    };
    // The request may have been sent before that answer came, or cannot.
    assert_eq!(fallen(5_699), BTreeSet::new());
    assert_eq!(fallen(5_700), BTreeSet::from([Check::Tokens]));
}

#[test]
fn c2_a_grant_that_was_written_down_after_a_pause_is_no_fallen_token() {
    let mut entries = sound();
    change(&mut entries, &granted(1, 12, 1_740), |entry| entry.at = 2_499 * MILLISECOND);
    assert_eq!(verdict(entries).violations, []);
}

#[test]
fn c3_a_stale_write_that_was_accepted_is_caught() {
    assert_caught_by(Check::Fencing, |entries| entries.push(entry(2_502, "resource", accepted(12, "worker-2"))));
}

#[test]
fn c3_one_stale_write_does_not_excuse_the_next() {
    let mut entries = sound();
    entries.push(entry(2_502, "resource", accepted(12, "worker-2")));
    entries.push(entry(2_503, "resource", accepted(12, "worker-2")));
    assert_eq!(verdict(entries).violations.len(), 2);
}

#[test]
fn c3_the_order_of_the_resource_is_that_of_its_lines() {
    assert_caught_by(Check::Fencing, |entries| entries.push(entry(50, "resource", accepted(11, "worker-1"))));
}

#[test]
fn c3_a_refusal_of_a_write_that_was_not_stale_is_caught() {
    assert_caught_by(Check::Fencing, |entries| entries.push(entry(4_900, "resource", refused(15, "worker-2", 15))));
}

#[test]
fn c3_pauses_without_a_refusal_are_caught() {
    let mut entries = sound();
    remove(&mut entries, &refused(12, "worker-2", 13));
    // With other faults, the name may have no successor yet.
    assert_eq!(verdict(entries.clone()).violations, []);
    remove(&mut entries, &fault_began(KILLED, "worker-3"));
    entries.push(entry(3_141, "worker-3", lost(13, 3_140)));
    assert_eq!(checks(&verdict(entries.clone())), BTreeSet::from([Check::Fencing]));
    // If no worker was frozen, no write need be refused.
    remove(&mut entries, &fault_began(FROZEN, "worker-2"));
    change(&mut entries, &lost(12, 1_740), |entry| entry.at = 1_741 * MILLISECOND);
    assert_eq!(verdict(entries).violations, []);
}

#[test]
fn c4_a_loss_that_is_signalled_late_is_caught() {
    let late = 2_499 * MILLISECOND + SIGNAL_ALLOWANCE;
    let mut entries = sound();
    change(&mut entries, &lost(12, 1_740), |entry| entry.at = late);
    assert!(verdict(entries).passed());
    assert_caught_by(Check::Losses, |entries| change(entries, &lost(12, 1_740), |entry| entry.at = late + 1));
}

#[test]
fn c4_a_pause_between_the_deadline_and_the_signal_excuses_and_one_after_it_does_not() {
    let lateness = |frozen_at: u64| {
        let mut entries = sound();
        for (at, event) in [(3_143, lost(13, 3_140)), (frozen_at, fault_began(FROZEN, "worker-3"))] {
            entries.push(entry(at, "worker-3", event));
        }
        entries.push(entry(3_500, "nemesis", fault_ended(FROZEN, "worker-3")));
        remove(&mut entries, &fault_began(KILLED, "worker-3"));
        if frozen_at == 3_140 {
            change(&mut entries, &lost(13, 3_140), |entry| entry.at = 3_502 * MILLISECOND);
        }
        let verdict = verdict(entries);
        assert_eq!(verdict.violations, []);
        let lateness = verdict.figures.signal_lateness.unwrap();
        (lateness.count, lateness.max as u64 / MILLISECOND)
    };
    // The other loss is that of token 12, a millisecond late.
    assert_eq!(lateness(3_140), (2, 2));
    assert_eq!(lateness(3_144), (2, 3));
}

#[test]
fn c4_only_a_worker_that_was_frozen_may_signal_after_its_pause() {
    assert_caught_by(Check::Losses, |entries| {
        for event in [fault_began(FROZEN, "worker-2"), fault_ended(FROZEN, "worker-2")] {
            change(entries, &event, |entry| {
                let (Event::FaultBegan { target, .. } | Event::FaultEnded { target, .. }) = &mut entry.event else {
                    unreachable!()
                };
                *target = "worker-1".into();
            });
        }
    });
}

#[test]
fn c4_a_loss_that_is_never_signalled_is_caught() {
    assert_caught_by(Check::Losses, |entries| remove(entries, &lost(12, 1_740)));
    // The call of a release is no signal of an earlier loss.
    assert_caught_by(Check::Losses, |entries| change(entries, &lost(12, 1_740), |entry| entry.event = releasing(12)));
}

#[test]
fn c4_a_worker_that_was_killed_after_its_deadline_had_time_to_signal() {
    assert_caught_by(Check::Losses, |entries| {
        change(entries, &fault_began(KILLED, "worker-3"), |entry| {
            entry.at = 3_140 * MILLISECOND + SIGNAL_ALLOWANCE + 1;
        });
        change(entries, &Event::Healed, |entry| entry.at = 3_500 * MILLISECOND);
    });
}

#[test]
fn c4_a_lease_that_is_revived_after_its_deadline_is_caught() {
    assert_caught_by(Check::Losses, |entries| {
        // Token 15 lives until 5640.
        change(entries, &renewed(15, 5_940), |entry| {
            entry.at = 5_640 * MILLISECOND + SIGNAL_ALLOWANCE + 1;
            entry.event = renewed(15, 6_580);
        });
        change(entries, &releasing(15), |entry| entry.at = 6_000 * MILLISECOND);
        change(entries, &released(15), |entry| entry.at = 6_010 * MILLISECOND);
    });
}

#[test]
fn c5_a_name_that_is_not_granted_after_healing_is_caught() {
    assert_caught_by(Check::Recovery, |entries| {
        entries.retain(|entry| {
            entry.at < 3_000 * MILLISECOND || entry.at > 6_000 * MILLISECOND || entry.event == Event::Healed
        });
    });
    assert_caught_by(Check::Recovery, |entries| {
        entries.push(entry(3_050, "worker-1", Event::Asked { name: "other".into(), attempt: 2 }));
    });
}

#[test]
fn c5_a_name_that_is_granted_too_late_is_caught() {
    let mut entries = sound();
    change(&mut entries, &Event::Healed, |entry| entry.at = 4_700 * MILLISECOND - RECOVERY);
    assert!(verdict(entries).passed());
    assert_caught_by(Check::Recovery, |entries| {
        change(entries, &Event::Healed, |entry| entry.at = 4_700 * MILLISECOND - RECOVERY - 1);
        // The name is not granted in between.
        change(entries, &granted(1, 13, 2_790), |entry| entry.at = 1_699 * MILLISECOND);
        change(entries, &lost(12, 1_740), |entry| entry.event = lost(12, 1_690));
        change(entries, &granted(1, 12, 1_740), |entry| entry.event = granted(1, 12, 1_690));
        entries.retain(|entry| entry.event != renewed(13, 3_140));
    });
}

#[test]
fn c5_faults_that_are_never_healed_are_caught() {
    assert_caught_by(Check::Recovery, |entries| remove(entries, &Event::Healed));
}

#[test]
fn c6_leaks_are_caught() {
    assert_caught_by(Check::Baseline, |entries| {
        change(entries, &counted("descriptors", "server", 19), |entry| {
            entry.event = counted("descriptors", "server", 21);
        });
    });
}

#[test]
fn c6_a_recording_without_counts_is_caught() {
    assert_caught_by(Check::Baseline, |entries| {
        entries.retain(|entry| entry.at < 7_000 * MILLISECOND || !matches!(entry.event, Event::Counted { .. }));
        entries.push(entry(7_000, "nemesis", Event::Requests { count: 0 }));
    });
}

#[test]
fn c7_an_unknown_grant_that_blocks_for_longer_than_a_ttl_is_caught() {
    let free = 3_600 * MILLISECOND + TTL + NOTICE_ALLOWANCE;
    let late = |at: u64| {
        move |entries: &mut Vec<Entry>| {
            change(entries, &granted(4, 15, 5_640), |entry| {
                (entry.at, entry.event) = (at, granted(4, 15, at / MILLISECOND + 940));
            });
            // The check of the recovery must not fail, too.
            change(entries, &Event::Healed, |entry| entry.at = 4_500 * MILLISECOND);
            change(entries, &accepted(15, "worker-2"), |entry| entry.at = at + MILLISECOND);
            entries.retain(|entry| entry.event != renewed(15, 5_940));
            for event in [releasing(15), released(15)] {
                change(entries, &event, |entry| entry.at = at + 2 * MILLISECOND);
            }
        }
    };
    let mut entries = sound();
    late(free)(&mut entries);
    assert_eq!(verdict(entries).violations, []);
    assert_caught_by(Check::Ambiguity, late(free + 1));
    // No attempt began before.
    let mut entries = sound();
    late(free + 2)(&mut entries);
    change(&mut entries, &asked(4), |entry| entry.at = free + 1);
    assert_eq!(verdict(entries).violations, []);
    // A refusal is a violation as well as a longer wait.
    assert_caught_by(Check::Ambiguity, |entries| {
        late(free + 2)(entries);
        change(entries, &asked(4), |entry| entry.at = free + 1);
        let refusal = Event::NotGranted { name: "job".into(), attempt: 9 };
        entries.push(Entry { at: free + 1, by: "worker-1".into(), event: refusal });
    });
}

#[test]
fn c7_a_request_may_be_stuck_for_as_long_as_the_fault() {
    let free = 3_600 * MILLISECOND + TTL + NOTICE_ALLOWANCE;
    let mut entries = sound();
    change(&mut entries, &granted(4, 15, 5_640), |entry| {
        (entry.at, entry.event) = (free + 1, granted(4, 15, free / MILLISECOND + 940));
    });
    change(&mut entries, &Event::Healed, |entry| entry.at = 4_500 * MILLISECOND);
    entries.retain(|entry| entry.event != renewed(15, 5_940));
    for event in [releasing(15), released(15), accepted(15, "worker-2")] {
        change(&mut entries, &event, |entry| entry.at = free + MILLISECOND);
    }
    assert_eq!(checks(&verdict(entries.clone())), BTreeSet::from([Check::Ambiguity]));
    entries.push(entry(3_500, "nemesis", fault_began("cut", "network")));
    let ended = |at| [&entries[..], &[entry(at, "nemesis", fault_ended("cut", "network"))]].concat();
    assert_eq!(verdict(ended(3_602)).violations, []);
    // A leader is elected after the fault.
    let with_election = || Case { election: 2 * MILLISECOND, ..case() };
    assert_eq!(checks(&verdict(ended(3_599))), BTreeSet::from([Check::Ambiguity]));
    assert_eq!(verdict_in(with_election(), ended(3_599)).violations, []);
    assert_eq!(checks(&verdict_in(with_election(), ended(3_597))), BTreeSet::from([Check::Ambiguity]));
}

#[test]
fn c8_a_sabotage_passes_only_if_it_is_caught_by_its_check() {
    let sabotaged = |sabotage| Case { sabotage: Some(sabotage), ..case() };
    assert!(!verdict_in(sabotaged(Sabotage::FencingOff), sound()).passed());
    let mut entries = sound();
    entries.push(entry(2_502, "resource", accepted(12, "worker-2")));
    assert!(verdict_in(sabotaged(Sabotage::FencingOff), entries.clone()).passed());
    assert!(!verdict_in(sabotaged(Sabotage::CounterReset), entries).passed());
}

/// Writes a sound record into a directory of its own; `damage` changes one of its files.
fn written(test: &str, file: &str, damage: impl Fn(String) -> String) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("record").join(test);
    support::write(&directory, &case(), &sound());
    let damaged = directory.join(file);
    fs::write(&damaged, damage(fs::read_to_string(&damaged).unwrap())).unwrap();
    directory
}

#[test]
fn a_written_record_is_judged_like_the_one_in_memory() {
    let directory = written("whole", "case.json", |text| text);
    assert_eq!(judge(&directory).unwrap(), verdict(sound()));
}

#[test]
fn the_last_line_of_a_killed_process_may_be_cut() {
    let directory = written("cut", "worker-3.jsonl", |text| text + "{\"at\":220000");
    assert!(judge(&directory).unwrap().passed());
}

#[test]
fn any_other_line_that_is_no_entry_is_an_error() {
    let ended = written("ended", "worker-3.jsonl", |text| text + "{\"at\":220000\n");
    let error = judge(&ended).unwrap_err();
    assert!(matches!(&error, ReadError::NotAnEntry { line: 4, .. }), "{error}");
    let inner = written("inner", "worker-3.jsonl", |text| format!("\n{text}"));
    let error = judge(&inner).unwrap_err();
    assert!(error.to_string().contains("worker-3.jsonl:1: "), "{error}");
    let no_case = written("no-case", "case.json", |_| "{}".into());
    assert!(matches!(judge(&no_case).unwrap_err(), ReadError::NotACase { .. }));
    let no_token = written("no-token", "worker-3.jsonl", |text| text.replace("\"token\":13", "\"token\":0"));
    assert!(matches!(judge(&no_token).unwrap_err(), ReadError::Impossible { token: 0, .. }));
    let nothing = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("nothing");
    assert!(matches!(judge(&nothing).unwrap_err(), ReadError::Unreadable { .. }));
}

/// Consecutive tenures: how long the name was free before, how long it was held, and whether it was released.
fn tenures() -> impl Strategy<Value = Vec<(u64, u64, bool)>> {
    proptest::collection::vec((0..2_000_000_u64, 1..5_000_000_u64, any::<bool>()), 2..20)
}

fn entries_of(tenures: &[(u64, u64, bool)]) -> Vec<Entry> {
    let mut entries =
        vec![entry(0, "controller", counted("tasks", "x", 1)), entry(1, "controller", counted("tasks", "x", 1))];
    let mut now = 10 * MILLISECOND;
    for (number, &(free, held, is_released)) in tenures.iter().enumerate() {
        let (token, by) = (number as u64 + 1, format!("worker-{}", number % 3));
        let (from, until) = (now + free, now + free + held);
        now = until;
        let deadline = if is_released { until + TTL } else { until };
        let name = || "job".to_owned();
        entries.push(Entry { at: from, by: by.clone(), event: Event::Asked { name: name(), attempt: token } });
        entries.push(Entry {
            at: from,
            by: by.clone(),
            event: Event::Granted { name: name(), attempt: token, token, until: deadline },
        });
        entries.push(Entry { at: from, by: "resource".into(), event: accepted(token, &by) });
        let end = if is_released {
            releasing(token)
        } else {
            Event::Lost { name: name(), token, reason: "expired".into(), deadline }
        };
        entries.push(Entry { at: until, by, event: end });
    }
    entries
}

proptest! {
    /// Every history without overlaps is sound, and an overlap of a nanosecond is caught.
    #[test]
    fn every_overlap_is_measured(mut tenures in tenures(), which in any::<prop::sample::Index>(), by in 1..5_000_000_u64) {
        let verdict = verdict(entries_of(&tenures));
        prop_assert_eq!(&verdict.violations, &[]);
        prop_assert_eq!(verdict.figures.grants, tenures.len() as u64);
        let late = which.index(tenures.len() - 1) + 1;
        tenures[late].0 = 0;
        let mut entries = entries_of(&tenures);
        let token = late as u64 + 1;
        let by = by.min(tenures[late - 1].1);
        let granted = entries.iter_mut().find(|entry| matches!(entry.event, Event::Granted { token: other, .. } if other == token));
        granted.unwrap().at -= by;
        let verdict = self::verdict(entries);
        prop_assert_eq!(checks(&verdict), BTreeSet::from([Check::Exclusion]));
        prop_assert_eq!(verdict.figures.largest_overlap, by);
    }
}
