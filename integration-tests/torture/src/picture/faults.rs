//! What was done to the run: a lane with every fault, and what of it reaches into the other lanes.

use maud::{Markup, html};

use super::{
    Scene,
    frame::{pixels, text_width},
};
use crate::check::recording::FaultSpan;

const ROW: f64 = 18.0;
const BAR: f64 = 14.0;

/// The lane of faults.
pub(super) struct Faults<'a> {
    scene: &'a Scene<'a>,
    top: f64,
    /// Each with its row and its place.
    bars: Vec<Bar<'a>>,
    rows: usize,
}

struct Bar<'a> {
    span: &'a FaultSpan,
    label: String,
    row: usize,
    x: f64,
    width: f64,
}

impl<'a> Faults<'a> {
    /// Puts each fault into the first row that has room for it and its label.
    pub(super) fn of(scene: &'a Scene<'a>, top: f64) -> Self {
        let (mut bars, mut row_ends) = (Vec::new(), Vec::<f64>::new());
        for span in &scene.recording.faults {
            let Some((x, width)) = scene.frame.span(span.from, span.until.unwrap_or(span.from)) else { continue };
            let width = width.max(3.0);
            let label = format!("{} {}", span.target, span.fault);
            let end = x + width.max(text_width(&label) + 10.0) + 4.0;
            let row = row_ends.iter().position(|&row_end| row_end <= x).unwrap_or(row_ends.len());
            row_ends.resize(row_ends.len().max(row + 1), 0.0);
            row_ends[row] = end;
            bars.push(Bar { span, label, row, x, width });
        }
        Self { scene, top, bars, rows: row_ends.len() }
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + self.rows as f64 * ROW
    }

    /// Faults that hit everybody, behind all lanes.
    pub(super) fn bands(&self, top: f64, bottom: f64) -> Markup {
        html! {
            @for Bar { x, width, .. } in self.bars.iter().filter(|bar| !self.scene.recording.is_worker(&bar.span.target)) {
                rect class="band" x=(pixels(*x)) y=(pixels(top)) width=(pixels(*width)) height=(pixels(bottom - top)) {}
            }
        }
    }

    pub(super) fn draw(&self) -> Markup {
        html! {
            @if self.rows > 0 {
                text class="lane" x="16" y=(pixels(self.top + 12.0)) { "faults" }
            }
            @for Bar { span, label, row, x, width } in &self.bars {
                @let y = self.top + *row as f64 * ROW;
                @let fits = *width >= text_width(label) + 8.0;
                g {
                    title { (label) " from " (self.scene.recording.second(span.from))
                        @if let Some(until) = span.until { " to " (self.scene.recording.second(until)) } }
                    rect class="fault" x=(pixels(*x)) y=(pixels(y + 1.0)) width=(pixels(*width)) height=(pixels(BAR)) rx="2" {}
                    text class=(if fits { "on-fault" } else { "beside" }) y=(pixels(y + 12.0))
                        x=(pixels(x + if fits { 4.0 } else { width + 4.0 })) { (label) }
                }
            }
        }
    }
}
