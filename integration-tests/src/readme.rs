//! The table of capabilities in the README, which says what the code says.

use std::{fs, path::Path, time::Duration};

use lease_core::{Capabilities, ExpiryJudge};

/// Asserts that the README of the workspace has the row of this store.
///
/// # Panics
///
/// If it has not, with the row to write.
#[track_caller]
pub fn the_readme_states(capabilities: &Capabilities) {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(&readme).unwrap_or_else(|error| panic!("{}: {error}", readme.display()));
    let row = row(capabilities);
    assert!(text.lines().any(|line| line == row), "README.md needs this row in its table of capabilities:\n{row}");
}

fn row(capabilities: &Capabilities) -> String {
    let Capabilities { store, min_ttl, max_ttl, ttl_granularity, expiry_judge, tokens_survive, .. } = capabilities;
    let ttl = format!("{} to {}, in steps of {}", duration(*min_ttl), duration(*max_ttl), duration(*ttl_granularity));
    let notified = list(&[(capabilities.push, "waiters"), (capabilities.push_to_holders, "holders")], "– (polls)");
    let rising = list(
        &[
            (tokens_survive.removal, "removal"),
            (tokens_survive.restart, "restart"),
            (tokens_survive.data_loss, "loss of data"),
        ],
        "–",
    );
    let survive = if capabilities.grants_survive_crash { "yes" } else { "–" };
    format!("| `{store}` | {ttl} | {} | {notified} | {rising} | {survive} |", judge(*expiry_judge))
}

fn judge(judge: ExpiryJudge) -> String {
    match judge {
        ExpiryJudge::ServerWallClock => "the server's wall clock".to_owned(),
        ExpiryJudge::ServerMonotonicClock => "a monotonic clock of the server".to_owned(),
        ExpiryJudge::ServersWallClocks { slack } => format!("the servers' wall clocks, within ± {}", duration(slack)),
        ExpiryJudge::Contenders => "each contender, by watching".to_owned(),
        ExpiryJudge::Process => "the process".to_owned(),
        other => panic!("the table has no words for {other:?}"),
    }
}

fn list(all: &[(bool, &str)], none: &str) -> String {
    let words: Vec<_> = all.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word).collect();
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}

fn duration(duration: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let nanos = duration.as_nanos();
    match duration.as_secs() {
        seconds if seconds >= DAY && seconds.is_multiple_of(DAY) => format!("{} d", seconds / DAY),
        seconds if seconds > 0 && duration.subsec_nanos() == 0 => format!("{seconds} s"),
        _ if nanos.is_multiple_of(1_000_000) => format!("{} ms", duration.as_millis()),
        _ if nanos.is_multiple_of(1_000) => format!("{} µs", duration.as_micros()),
        _ => format!("{nanos} ns"),
    }
}
