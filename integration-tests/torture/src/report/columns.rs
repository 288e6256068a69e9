//! The figures, as a table shows them: the same for the terminal and the page.

use crate::check::{
    Verdict,
    figures::{Figures, Quantiles},
};

/// A column of the table.
pub(super) struct Column {
    /// What is above it, in lines.
    pub(super) title: &'static str,
    /// What it says, for whoever does not know.
    pub(super) meaning: &'static str,
    pub(super) cell: fn(&Verdict) -> String,
}

pub(super) const COLUMNS: &[Column] = &[
    Column {
        title: "fault",
        meaning: "What was done, and the bug that was built in on purpose, if one was.",
        cell: |verdict| {
            let bug = verdict.case.sabotage.map_or(String::new(), |sabotage| format!("\nbug: {sabotage}"));
            verdict.case.fault.clone() + &bug
        },
    },
    Column {
        title: "seed",
        meaning: "From which the faults were drawn: the same seed draws the same ones.",
        cell: |verdict| verdict.case.seed.to_string(),
    },
    Column {
        title: "verdict",
        meaning: "Whether all checks passed; or, where a bug was built in on purpose, whether it was caught.",
        cell: |verdict| self::verdict(verdict).to_owned(),
    },
    Column {
        title: "grants",
        meaning: "How often a lease was granted.",
        cell: |verdict| verdict.figures.grants.to_string(),
    },
    Column {
        title: "largest\noverlap\nns",
        meaning: "The longest time for which two workers believed to hold one lease. Must be 0.",
        cell: |verdict| verdict.figures.largest_overlap.to_string(),
    },
    Column {
        title: "smallest\nmargin\nms",
        meaning: "The shortest time from the end of a belief by loss or crash to the next grant of the lease.",
        cell: |verdict| verdict.figures.smallest_margin.map_or("–".to_owned(), milliseconds),
    },
    Column {
        title: "tokens\nnot\nrising",
        meaning: "How often a token was not greater than all before it. Must be 0.",
        cell: |verdict| verdict.figures.token_regressions.to_string(),
    },
    Column {
        title: "stale\nwrites\nrefused",
        meaning: "How many writes the fenced resource refused, and how many it was sent.",
        cell: |verdict| {
            let Figures { writes_accepted, writes_refused, .. } = verdict.figures;
            format!("{writes_refused}\nof {}", writes_accepted + writes_refused)
        },
    },
    Column {
        title: "loss signal\nlate\nms",
        meaning: "How long after the local deadline a loss was signalled; for a worker that was frozen then, how long after it \
                  could run again.",
        cell: |verdict| quantiles(verdict.figures.signal_lateness),
    },
    Column {
        title: "take-over\n− ttl\nms",
        meaning: "How much longer than a ttl after the last answer that a crashed, frozen or cut-off holder had from the store \
                  somebody else was granted the lease. Negative where the holder noticed its loss and could still tell the \
                  store.",
        cell: |verdict| quantiles(verdict.figures.take_over_after_ttl),
    },
    Column {
        title: "hand-over\nms",
        meaning: "How long after a release was called a waiter had the lease.",
        cell: |verdict| quantiles(verdict.figures.hand_over),
    },
    Column {
        title: "acquired\nafter healing\nms",
        meaning: "How long after the end of all faults each lease was granted again. A lease that is free by then waits for \
                  nobody; one that is held ends with its tenure.",
        cell: |verdict| quantiles(verdict.figures.acquired_after_healing),
    },
    Column {
        title: "requests\na lease\na second",
        meaning: "Requests to the store, of all kinds, for each second in which a lease was held.",
        cell: |verdict| verdict.figures.requests_per_lease_second.map_or("–".to_owned(), |rate| format!("{rate:.1}")),
    },
    Column {
        title: "before → after",
        meaning: "What must return to its baseline: the sums over all processes that lived from the beginning to the end.",
        cell: |verdict| {
            let counts = verdict.figures.counts.iter();
            counts.map(|(what, (before, after))| format!("{what} {before} → {after}")).collect::<Vec<_>>().join("\n")
        },
    },
];

/// The verdict in a word.
pub(super) fn verdict(verdict: &Verdict) -> &'static str {
    match (verdict.case.sabotage, verdict.passed()) {
        (None, true) => "passed",
        (None, false) => "FAILED",
        (Some(_), true) => "caught",
        (Some(_), false) => "MISSED",
    }
}

fn quantiles(quantiles: Option<Quantiles>) -> String {
    let Some(Quantiles { p50, p99, max, .. }) = quantiles else { return "–".to_owned() };
    format!("p50 {}\np99 {}\nmax {}", milliseconds(p50), milliseconds(p99), milliseconds(max))
}

/// Three digits, about.
fn milliseconds(nanoseconds: i64) -> String {
    let milliseconds = nanoseconds as f64 / 1e6;
    let decimals = if milliseconds.abs() < 10.0 { 2 } else { usize::from(milliseconds.abs() < 100.0) };
    format!("{milliseconds:.decimals$}").replace('-', "−")
}
