//! A sound recording, written by hand.
#![allow(dead_code, reason = "every test uses its own part of it")]

use std::{fs, path::Path};

use torture::record::{Case, Entry, Event, FROZEN, KILLED};

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const TTL: u64 = 1_000 * MILLISECOND;
pub(crate) const RECOVERY: u64 = 3_000 * MILLISECOND;

pub(crate) fn case() -> Case {
    Case {
        store: "postgres".into(),
        fault: "worker frozen".into(),
        degradation: None,
        seed: 7,
        ttl: TTL,
        recovery: RECOVERY,
        election: 0,
        sabotage: None,
    }
}

pub(crate) fn entry(milliseconds: u64, by: &str, event: Event) -> Entry {
    Entry { at: milliseconds * MILLISECOND, by: by.into(), event }
}

pub(crate) fn asked(attempt: u64) -> Event {
    Event::Asked { name: "job".into(), attempt }
}

pub(crate) fn granted(attempt: u64, token: u64, until: u64) -> Event {
    Event::Granted { name: "job".into(), attempt, token, until: until * MILLISECOND }
}

pub(crate) fn renewed(token: u64, until: u64) -> Event {
    Event::Renewed { name: "job".into(), token, until: until * MILLISECOND }
}

pub(crate) fn lost(token: u64, deadline: u64) -> Event {
    Event::Lost { name: "job".into(), token, reason: "expired".into(), deadline: deadline * MILLISECOND }
}

pub(crate) fn releasing(token: u64) -> Event {
    Event::Releasing { name: "job".into(), token }
}

pub(crate) fn released(token: u64) -> Event {
    Event::Released { name: "job".into(), token, outcome: "released".into() }
}

pub(crate) fn not_held(token: u64) -> Event {
    Event::Released { name: "job".into(), token, outcome: "not_held".into() }
}

pub(crate) fn accepted(token: u64, writer: &str) -> Event {
    Event::Accepted { name: "job".into(), token, writer: writer.into() }
}

pub(crate) fn refused(token: u64, writer: &str, largest: u64) -> Event {
    Event::Refused { name: "job".into(), token, writer: writer.into(), largest }
}

pub(crate) fn counted(what: &str, of: &str, count: u64) -> Event {
    Event::Counted { what: what.into(), of: of.into(), count }
}

pub(crate) fn fault_began(fault: &str, target: &str) -> Event {
    Event::FaultBegan { fault: fault.into(), target: target.into() }
}

pub(crate) fn fault_ended(fault: &str, target: &str) -> Event {
    Event::FaultEnded { fault: fault.into(), target: target.into() }
}

/// Returns the entries: one worker releases, one is frozen past its deadline, one is killed, an outcome is unknown, and all
/// faults are healed.
pub(crate) fn sound() -> Vec<Entry> {
    let (one, two, three) = ("worker-1", "worker-2", "worker-3");
    vec![
        entry(0, one, counted("tasks", one, 9)),
        entry(1, "controller", counted("descriptors", "server", 20)),
        entry(10, one, asked(1)),
        entry(20, one, granted(1, 11, 960)),
        entry(350, one, renewed(11, 1_290)),
        entry(800, one, releasing(11)),
        entry(810, one, released(11)),
        entry(1_000, one, Event::Requests { count: 3 }),
        entry(30, two, asked(1)),
        entry(805, two, granted(1, 12, 1_740)),
        entry(2_500, two, lost(12, 1_740)),
        entry(2_600, two, asked(2)),
        entry(2_610, two, Event::NotGranted { name: "job".into(), attempt: 2 }),
        entry(2_700, two, asked(3)),
        // The grant with token 14 is not recorded: its answer was lost.
        entry(3_600, two, Event::Unknown { name: "job".into(), attempt: 3 }),
        entry(3_700, two, asked(4)),
        entry(4_700, two, granted(4, 15, 5_640)),
        entry(5_000, two, renewed(15, 5_940)),
        entry(5_100, two, releasing(15)),
        entry(5_110, two, released(15)),
        entry(40, three, asked(1)),
        entry(1_850, three, granted(1, 13, 2_790)),
        entry(2_200, three, renewed(13, 3_140)),
        entry(100, "resource", accepted(11, one)),
        entry(900, "resource", accepted(12, two)),
        entry(1_900, "resource", accepted(13, three)),
        entry(2_501, "resource", refused(12, two, 13)),
        entry(4_800, "resource", accepted(15, two)),
        entry(900, "nemesis", fault_began(FROZEN, two)),
        entry(2_499, "nemesis", fault_ended(FROZEN, two)),
        entry(2_800, "nemesis", fault_began(KILLED, three)),
        entry(3_000, "nemesis", Event::Healed),
        entry(7_000, one, counted("tasks", one, 9)),
        entry(7_100, "controller", counted("descriptors", "server", 19)),
    ]
}

/// Writes a record into a directory of its own.
pub(crate) fn write(directory: &Path, case: &Case, entries: &[Entry]) {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("case.json"), serde_json::to_string(case).unwrap()).unwrap();
    let mut processes: Vec<_> = entries.iter().map(|entry| entry.by.as_str()).collect();
    processes.sort_unstable();
    processes.dedup();
    for by in processes {
        let entries = entries.iter().filter(|entry| entry.by == by);
        let lines: String = entries.map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect();
        fs::write(directory.join(format!("{by}.jsonl")), lines).unwrap();
    }
}
