//! The columns of the table, which are the same for the terminal and the page.

use crate::check::{
    Verdict,
    figures::{Figures, Quantiles},
};

/// A column of the table.
pub(super) struct Column {
    /// The title, in lines.
    pub(super) title: &'static str,
    /// The explanation.
    pub(super) meaning: &'static str,
    pub(super) cell: fn(&Verdict) -> String,
}

pub(super) const COLUMNS: &[Column] = &[
    Column {
        title: "fault",
        meaning: "The fault, and the injected defect, if any.",
        cell: |verdict| {
            let defect = verdict.case.sabotage.map_or(String::new(), |sabotage| format!("\ndefect: {sabotage}"));
            verdict.case.fault.clone() + &defect
        },
    },
    Column {
        title: "seed",
        meaning: "The seed of the faults: the same seed draws the same faults.",
        cell: |verdict| verdict.case.seed.to_string(),
    },
    Column {
        title: "verdict",
        meaning: "Whether all checks passed; or whether the injected defect was caught.",
        cell: |verdict| self::verdict(verdict).to_owned(),
    },
    Column { title: "grants", meaning: "The number of grants.", cell: |verdict| verdict.figures.grants.to_string() },
    Column {
        title: "largest\noverlap\nns",
        meaning: "The longest overlap of two tenures of one lease. Must be 0.",
        cell: |verdict| verdict.figures.largest_overlap.to_string(),
    },
    Column {
        title: "smallest\nmargin\nms",
        meaning: "The shortest time from the end of a tenure by loss or crash to the next grant of the lease.",
        cell: |verdict| verdict.figures.smallest_margin.map_or("–".to_owned(), milliseconds),
    },
    Column {
        title: "tokens\nnot\nrising",
        meaning: "The number of tokens that were not greater than all earlier ones. Must be 0.",
        cell: |verdict| verdict.figures.token_regressions.to_string(),
    },
    Column {
        title: "stale\nwrites\nrefused",
        meaning: "The number of writes that the fenced resource refused, and of all writes.",
        cell: |verdict| {
            let Figures { writes_accepted, writes_refused, .. } = verdict.figures;
            format!("{writes_refused}\nof {}", writes_accepted + writes_refused)
        },
    },
    Column {
        title: "loss signal\nlate\nms",
        meaning: "The time from the local deadline, or from when a frozen worker could run again, to the signal of the loss.",
        cell: |verdict| quantiles(verdict.figures.signal_lateness),
    },
    Column {
        title: "take-over\n− ttl\nms",
        meaning: "The time by which the next grant came later than a ttl after the last answer of the store to a crashed, frozen \
                  or cut-off holder. Negative if the holder detected its loss and could still release the lease.",
        cell: |verdict| quantiles(verdict.figures.take_over_after_ttl),
    },
    Column {
        title: "hand-over\nms",
        meaning: "The time from the call of a release to the grant to a waiter.",
        cell: |verdict| quantiles(verdict.figures.hand_over),
    },
    Column {
        title: "acquired\nafter healing\nms",
        meaning: "The time from the end of all faults to the next grant of each lease. A lease that is held at that time must \
                  end first.",
        cell: |verdict| quantiles(verdict.figures.acquired_after_healing),
    },
    Column {
        title: "requests\na lease\na second",
        meaning: "Requests to the store, of all kinds, for each second in which a lease was held.",
        cell: |verdict| verdict.figures.requests_per_lease_second.map_or("–".to_owned(), |rate| format!("{rate:.1}")),
    },
    Column {
        title: "before → after",
        meaning: "The counts that must return to their baseline: the sums over all processes that ran from the beginning to the end.",
        cell: |verdict| {
            let counts = verdict.figures.counts.iter();
            counts.map(|(what, (before, after))| format!("{what} {before} → {after}")).collect::<Vec<_>>().join("\n")
        },
    },
];

/// Returns the verdict in a word.
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

/// Formats milliseconds with about three digits.
fn milliseconds(nanoseconds: i64) -> String {
    let milliseconds = nanoseconds as f64 / 1e6;
    let decimals = if milliseconds.abs() < 10.0 { 2 } else { usize::from(milliseconds.abs() < 100.0) };
    format!("{milliseconds:.decimals$}").replace('-', "−")
}
