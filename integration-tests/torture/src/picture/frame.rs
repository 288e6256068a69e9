//! The positions of moments, and the size of text.

use maud::{Markup, html};

/// The width of the labels at the left of the lanes.
const GUTTER: f64 = 112.0;

/// The part of a run that is drawn.
pub(super) struct Frame {
    origin: u64,
    from: u64,
    until: u64,
    width: f64,
}

impl Frame {
    pub(super) fn new(origin: u64, from: u64, until: u64) -> Self {
        let until = until.max(from + 1);
        Self { origin, from, until, width: (seconds(until - from) * 60.0).clamp(900.0, 6000.0) }
    }

    pub(super) fn left(&self) -> f64 {
        GUTTER
    }

    pub(super) fn right(&self) -> f64 {
        GUTTER + self.width
    }

    /// Returns the position of a moment, if it is in the picture.
    pub(super) fn point(&self, at: u64) -> Option<f64> {
        (self.from..=self.until).contains(&at).then(|| self.x(at))
    }

    /// Returns the beginning and the width of a span, if any of it is in the picture.
    pub(super) fn span(&self, from: u64, until: u64) -> Option<(f64, f64)> {
        let (from, until) = (from.max(self.from), until.min(self.until));
        (from <= until).then(|| (self.x(from), self.x(until) - self.x(from)))
    }

    /// Draws the time axis, with a line at every round number of seconds.
    pub(super) fn grid(&self, top: f64, bottom: f64) -> Markup {
        const SMALLEST_DISTANCE: f64 = 56.0;
        let smallest_step = seconds(self.until - self.from) * SMALLEST_DISTANCE / self.width;
        let steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
        let step = steps.into_iter().find(|&step| step >= smallest_step).unwrap_or(1000.0);
        let (first, last) =
            (seconds(self.from.saturating_sub(self.origin)), seconds(self.until.saturating_sub(self.origin)));
        let ticks = ((first / step).ceil() as u64..=(last / step).floor() as u64).map(|tick| tick as f64 * step);
        let decimals = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
        html! {
            @for (second, x) in ticks.map(|tick| (tick, GUTTER + (tick - first) / (last - first) * self.width)) {
                path class="grid" d=(format!("M{x} {top}V{bottom}", x = pixels(x), top = pixels(top), bottom = pixels(bottom + 4.0))) {}
                text class="tick" x=(pixels(x)) y=(pixels(bottom + 17.0)) { (format!("{second:.decimals$} s")) }
            }
        }
    }

    fn x(&self, at: u64) -> f64 {
        GUTTER + (at - self.from) as f64 / (self.until - self.from) as f64 * self.width
    }
}

/// Formats a length. A tenth of a pixel is not visible.
pub(super) fn pixels(length: f64) -> String {
    let text = format!("{length:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Returns about the largest width of a text.
pub(super) fn text_width(text: &str) -> f64 {
    const WIDEST_USUAL_CHARACTER: f64 = 6.6;
    text.chars().count() as f64 * WIDEST_USUAL_CHARACTER
}

/// Shortens a text to at most this length.
pub(super) fn shortened(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters - 1).chain(['…']).collect()
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
