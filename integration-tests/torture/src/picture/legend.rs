//! The legend of colours and marks.

use maud::{Markup, html};

use super::{
    Scene,
    frame::{pixels, shortened, text_width},
};
use crate::{
    check::exclusion,
    record::{Event, FROZEN, KILLED},
};

const ROW: f64 = 18.0;

/// The colours of the names and the marks of the lanes, in as many rows as they need.
pub(super) struct Legend {
    top: f64,
    items: Vec<Item>,
    rows: usize,
}

struct Item {
    symbol: Symbol,
    label: String,
    x: f64,
    row: usize,
}

enum Symbol {
    Bar(String),
    Waits,
    Unknown,
    Blocks,
    Lost,
    Refused,
    Frozen,
    Killed,
    Band,
    Accepted,
    Healed,
    Overlap,
}

impl Legend {
    pub(super) fn of(scene: &Scene<'_>, top: f64) -> Self {
        let names = scene.names.iter().map(|name| {
            let name = name.as_str();
            (Symbol::Bar(scene.colour(name)), shortened(name, 24))
        });
        let recording = scene.recording;
        let has = |what: fn(&Event) -> bool| recording.entries.iter().any(|entry| what(&entry.event));
        let was = |fault: &str| recording.faults.iter().any(|span| span.fault == fault);
        let marks = [
            (Symbol::Waits, "waits", has(|event| matches!(event, Event::Asked { .. }))),
            (Symbol::Unknown, "outcome unknown", has(|event| matches!(event, Event::Unknown { .. }))),
            (Symbol::Accepted, "writes accepted", has(|event| matches!(event, Event::Accepted { .. }))),
            (Symbol::Frozen, "worker frozen", was(FROZEN)),
            (Symbol::Lost, "loss signalled", has(|event| matches!(event, Event::Lost { .. }))),
            (Symbol::Refused, "stale write refused", has(|event| matches!(event, Event::Refused { .. }))),
            (Symbol::Killed, "worker killed", was(KILLED)),
            (Symbol::Blocks, "blocked by a dead holder", was(KILLED)),
            (
                Symbol::Band,
                "fault of server or network",
                recording.faults.iter().any(|span| !recording.is_worker(&span.target)),
            ),
            (Symbol::Healed, "all faults over", has(|event| matches!(event, Event::Healed))),
            (Symbol::Overlap, "two holders at once", !exclusion::unsound(recording).is_empty()),
        ];
        let marks =
            marks.into_iter().filter(|&(_, _, occurs)| occurs).map(|(symbol, label, _)| (symbol, label.to_owned()));
        let (mut x, mut row) = (16.0, 0);
        let mut items = Vec::new();
        for (symbol, label) in names.chain(marks) {
            let width = 24.0 + text_width(&label) + 14.0;
            if x + width > scene.frame.right() && x > 16.0 {
                (x, row) = (16.0, row + 1);
            }
            items.push(Item { symbol, label, x, row });
            x += width;
        }
        Self { top, items, rows: row + 1 }
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + self.rows as f64 * ROW
    }

    pub(super) fn draw(&self) -> Markup {
        html! {
            @for Item { symbol, label, x, row } in &self.items {
                @let y = self.top + *row as f64 * ROW;
                g transform=(format!("translate({} {})", pixels(*x), pixels(y))) {
                    (symbol.draw())
                    text class="beside" x="24" y="11" { (label) }
                }
            }
        }
    }
}

impl Symbol {
    /// Draws the symbol in a box of 18 by 14.
    fn draw(&self) -> Markup {
        html! {
            @match self {
                Self::Bar(colour) => rect class=(format!("{colour} holds")) y="1" width="18" height="12" rx="2" {},
                Self::Waits => path class="name-0 waits" d="M0 7h18" {},
                Self::Unknown => text class="unknown" x="9" y="12" { "?" },
                Self::Blocks => rect class="name-0 blocks" y="1" width="18" height="12" {},
                Self::Lost => path class="lost" d="M5 7l4 -4 4 4 -4 4z" {},
                Self::Accepted => path class="accepted" d="M3 6v2M6 6v2M9 6v2M12 6v2M15 6v2" {},
                Self::Refused => path class="refused" d="M5 3l8 8m0 -8l-8 8" {},
                Self::Frozen => {
                    rect class="frozen" y="1" width="18" height="12" {}
                    path class="hatch" d="M0 7l6 -6M0 13l12 -12M6 13l12 -12M12 13l6 -6" {}
                },
                Self::Killed => {
                    rect class="dead" y="1" width="18" height="12" {}
                    path class="killed" d="M0 1v12" {}
                },
                Self::Band => rect class="band" y="1" width="18" height="12" {},
                Self::Overlap => rect class="overlap" x="1" y="1" width="16" height="12" {},
                Self::Healed => path class="healed" d="M9 0v14" {},
            }
        }
    }
}
