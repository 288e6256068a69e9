//! The lane with all faults, and their bands in the other lanes.

use maud::{Markup, html};

use super::{
    Scene,
    frame::{pixels, text_width},
};
use crate::check::recording::FaultSpan;

const ROW: f64 = 18.0;
const BAR: f64 = 14.0;

/// The lane of faults.
pub(super) struct Faults {
    top: f64,
    bars: Vec<Bar>,
    rows: usize,
}

/// A fault of one target, or of several at once.
struct Bar {
    label: String,
    label_x: f64,
    /// Whether the label is on the bar, rather than beside it.
    is_inside: bool,
    when: String,
    hits_everybody: bool,
    row: usize,
    x: f64,
    width: f64,
}

impl Faults {
    /// Places each fault in the first row with room for it and its label.
    pub(super) fn of(scene: &Scene<'_>, top: f64) -> Self {
        let (mut bars, mut row_ends) = (Vec::new(), Vec::<f64>::new());
        for spans in scene.recording.faults.chunk_by(is_same_strike) {
            let (first, last) = (&spans[0], &spans[spans.len() - 1]);
            let Some((x, width)) = scene.frame.span(first.from, first.until.unwrap_or(first.from)) else { continue };
            let width = width.max(3.0);
            let label = match spans {
                [_] => format!("{}: {}", first.victim(), first.fault),
                _ => format!("{} … {}: {}", first.victim(), last.victim(), first.fault),
            };
            let second = |at| scene.recording.second(at);
            let until = first.until.map_or(String::new(), |until| format!(" to {}", second(until)));
            let when = format!("from {}{until}", second(first.from));
            let text = text_width(&label);
            let is_inside = width >= text + 8.0;
            let (start, end, label_x) = if is_inside {
                (x, x + width, x + 4.0)
            } else if x + width + 4.0 + text < scene.frame.right() {
                (x, x + width + 4.0 + text, x + width + 4.0)
            } else {
                (x - 4.0 - text, x + width, x - 4.0 - text)
            };
            let row = row_ends.iter().position(|&row_end| row_end + 4.0 <= start).unwrap_or(row_ends.len());
            row_ends.resize(row_ends.len().max(row + 1), 0.0);
            row_ends[row] = end;
            let hits_everybody = !scene.recording.is_worker(first.victim());
            bars.push(Bar { label, label_x, is_inside, when, hits_everybody, row, x, width });
        }
        Self { top, bars, rows: row_ends.len() }
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + self.rows as f64 * ROW
    }

    /// Draws the faults that affect all workers, behind all lanes.
    pub(super) fn bands(&self, top: f64, bottom: f64) -> Markup {
        html! {
            @for Bar { x, width, .. } in self.bars.iter().filter(|bar| bar.hits_everybody) {
                rect class="band" x=(pixels(*x)) y=(pixels(top)) width=(pixels(*width)) height=(pixels(bottom - top)) {}
            }
        }
    }

    pub(super) fn draw(&self) -> Markup {
        html! {
            @if self.rows > 0 {
                text class="lane" x="16" y=(pixels(self.top + 12.0)) { "faults" }
            }
            @for Bar { label, label_x, is_inside, when, row, x, width, .. } in &self.bars {
                @let y = self.top + *row as f64 * ROW;
                g {
                    title { (label) " " (when) }
                    rect class="fault" x=(pixels(*x)) y=(pixels(y + 1.0)) width=(pixels(*width)) height=(pixels(BAR)) rx="2" {}
                    text class=(if *is_inside { "on-fault" } else { "beside" }) x=(pixels(*label_x)) y=(pixels(y + 12.0)) { (label) }
                }
            }
        }
    }
}

/// Returns whether two faults are the same fault of two targets: at nearly the same time.
fn is_same_strike(one: &FaultSpan, two: &FaultSpan) -> bool {
    const NEAR: u64 = 20_000_000;
    let ends = one.until.unwrap_or(u64::MAX).abs_diff(two.until.unwrap_or(u64::MAX));
    one.fault == two.fault && one.from.abs_diff(two.from) < NEAR && ends < NEAR
}
