//! The results, and whether they meet their targets.

use serde::Serialize;

use crate::{closed_loops::Sample, servers::StoreKind};

/// All results of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) throughput: Vec<Throughput>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Pairs of acquire and release of one contender, in all repetitions.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) store: StoreKind,
    pub(crate) contender: &'static str,
    pub(crate) tasks: usize,
    pub(crate) median_pairs_per_second: f64,
    pub(crate) median_p50_us: f64,
    pub(crate) median_p99_us: f64,
    pub(crate) samples: Vec<Sample>,
}

/// One measured number.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) cell: &'static str,
    pub(crate) store: StoreKind,
    pub(crate) contender: &'static str,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// A number with its target.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) store: StoreKind,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) target: Target,
}

/// The target of a number.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast { limit: f64, aim: f64 },
    AtMost(f64),
}

impl Target {
    fn judge(self, value: f64) -> &'static str {
        match self {
            Self::AtLeast { aim, .. } if value >= aim => "aim reached",
            Self::AtLeast { limit, .. } if value >= limit => "reached",
            Self::AtMost(limit) if value <= limit => "reached",
            _ => "MISSED",
        }
    }
}

impl Summary {
    pub(crate) fn figure(
        &mut self,
        (cell, store, contender): (&'static str, StoreKind, &'static str),
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) {
        self.figures.push(Figure { cell, store, contender, what: what.into(), value, unit });
    }

    pub(crate) fn verdict(&mut self, store: StoreKind, what: impl Into<String>, value: f64, target: Target) {
        self.verdicts.push(Verdict { store, what: what.into(), value, target });
    }

    pub(crate) fn print(&self) {
        if !self.throughput.is_empty() {
            println!("\nAcquire + release of free names, medians\n");
            println!(
                "{:<11} {:<16} {:>5} {:>12} {:>10} {:>10}",
                "store", "who", "tasks", "pairs/s", "p50 µs", "p99 µs"
            );
            for row in &self.throughput {
                println!(
                    "{:<11} {:<16} {:>5} {:>12.0} {:>10.0} {:>10.0}",
                    row.store.name(),
                    row.contender,
                    row.tasks,
                    row.median_pairs_per_second,
                    row.median_p50_us,
                    row.median_p99_us
                );
            }
        }
        if !self.figures.is_empty() {
            println!("\n{:<10} {:<11} {:<16} {:<46} {:>12}", "cell", "store", "who", "what", "value");
            for row in &self.figures {
                let name = row.store.name();
                println!(
                    "{:<10} {name:<11} {:<16} {:<46} {:>12.3} {}",
                    row.cell, row.contender, row.what, row.value, row.unit
                );
            }
        }
        if !self.verdicts.is_empty() {
            println!("\n{:<11} {:<58} {:>9} {:>16}", "store", "target", "measured", "wanted");
            for row in &self.verdicts {
                let wanted = match row.target {
                    Target::AtLeast { limit, aim } => format!("≥ {limit} ({aim})"),
                    Target::AtMost(limit) => format!("≤ {limit}"),
                };
                let (name, verdict) = (row.store.name(), row.target.judge(row.value));
                println!("{name:<11} {:<58} {:>9.2} {wanted:>16}  {verdict}", row.what, row.value);
            }
        }
    }
}

/// Returns the median; of an even number of values, the upper one of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
