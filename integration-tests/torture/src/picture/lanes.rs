//! A lane for each worker, with a row for each name: its attempts, tenures, losses and refused writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use lease_testkit::Violation;
use maud::{Markup, html};

use super::{
    Scene,
    frame::{pixels, shortened, text_width},
};
use crate::{
    check::{
        exclusion,
        grants::{Ending, Grant},
    },
    record::{Entry, Event, FROZEN, KILLED},
};

const ROW: f64 = 20.0;
const BAR: f64 = 14.0;
const GAP: f64 = 8.0;

/// The lanes of all workers.
pub(super) struct Lanes<'a> {
    scene: &'a Scene<'a>,
    top: f64,
    /// The names of the workers without the number of their restarts.
    workers: Vec<&'a str>,
}

impl<'a> Lanes<'a> {
    pub(super) fn of(scene: &'a Scene<'a>, top: f64) -> Self {
        let mut workers: Vec<_> = scene.recording.workers().into_iter().map(place).collect();
        workers.dedup();
        Self { scene, top, workers }
    }

    pub(super) fn top(&self) -> f64 {
        self.top
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + self.workers.len() as f64 * (self.height() + GAP)
    }

    pub(super) fn backgrounds(&self) -> Markup {
        let frame = &self.scene.frame;
        html! {
            @for (index, worker) in self.workers.iter().enumerate() {
                @let y = self.lane(index);
                rect class="lane-surface" x=(pixels(frame.left())) y=(pixels(y)) width=(pixels(frame.right() - frame.left()))
                    height=(pixels(self.height())) rx="3" {}
                text class="lane" x="16" y=(pixels(y + self.height() / 2.0 + 4.0)) {
                    title { (worker) }
                    (shortened(worker, 14))
                }
            }
        }
    }

    pub(super) fn draw(&self) -> Markup {
        let recording = self.scene.recording;
        html! {
            @for (index, worker) in self.workers.iter().enumerate() {
                (self.harm(worker, self.lane(index)))
            }
            (self.attempts())
            @for grant in &recording.grants { (self.grant(grant)) }
            @for (index, worker) in self.workers.iter().enumerate() {
                @for span in recording.faults.iter().filter(|span| span.fault == FROZEN && place(&span.target) == *worker) {
                    @if let Some((x, width)) = self.scene.frame.span(span.from, span.until.unwrap_or(u64::MAX)) {
                        path class="hatch" d=(hatch(x, self.lane(index), width, self.height())) {}
                    }
                }
            }
            (self.overlaps())
            (self.accepted())
            (self.refused())
        }
    }

    /// Draws when the network of the worker had a fault, when the worker was frozen, and when it did not run.
    fn harm(&self, worker: &str, y: f64) -> Markup {
        let faults = || self.scene.recording.faults.iter().filter(|span| place(span.victim()) == worker);
        let cut_off = faults().filter(|span| span.target != span.victim());
        let frozen = faults().filter(|span| span.fault == FROZEN);
        let killed = faults().filter(|span| span.fault == KILLED);
        html! {
            @for span in cut_off {
                @if let Some((x, width)) = self.scene.frame.span(span.from, span.until.unwrap_or(u64::MAX)) {
                    rect class="band" x=(pixels(x)) y=(pixels(y)) width=(pixels(width)) height=(pixels(self.height())) {}
                }
            }
            @for span in frozen {
                @if let Some((x, width)) = self.scene.frame.span(span.from, span.until.unwrap_or(u64::MAX)) {
                    rect class="frozen" x=(pixels(x)) y=(pixels(y)) width=(pixels(width)) height=(pixels(self.height())) {}
                }
            }
            @for span in killed {
                @if let Some((x, width)) = self.scene.frame.span(span.from, self.restarted(worker, span.from)) {
                    rect class="dead" x=(pixels(x)) y=(pixels(y)) width=(pixels(width)) height=(pixels(self.height())) {}
                    path class="killed" d=(format!("M{} {}v{}", pixels(x), pixels(y), pixels(self.height()))) {}
                }
            }
        }
    }

    /// Returns when the worker of this lane ran again.
    fn restarted(&self, worker: &str, after: u64) -> u64 {
        let entries = self.scene.recording.entries.iter();
        entries
            .filter(|entry| place(&entry.by) == worker && entry.at > after)
            .map(|entry| entry.at)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Draws the attempts of the worker, with a mark where the outcome is unknown.
    fn attempts(&self) -> Markup {
        let mut asked = BTreeMap::new();
        let mut attempts = Vec::new();
        for Entry { at, by, event } in &self.scene.recording.entries {
            match event {
                Event::Asked { attempt, .. } => {
                    asked.insert((by, attempt), *at);
                }
                Event::Granted { name, attempt, .. }
                | Event::NotGranted { name, attempt }
                | Event::Unknown { name, attempt } => {
                    let from = asked.remove(&(by, attempt));
                    let is_unknown = matches!(event, Event::Unknown { .. });
                    attempts.extend(from.zip(self.row(by, name)).map(|(from, y)| (name, from, *at, is_unknown, y)));
                }
                _ => {}
            }
        }
        html! {
            @for (name, from, until, is_unknown, y) in attempts {
                @let middle = pixels(y + BAR / 2.0);
                @if let Some((x, width)) = self.scene.frame.span(from, until) {
                    path class=(format!("{} waits", self.scene.colour(name))) d=(format!("M{} {middle}h{}", pixels(x), pixels(width))) {}
                }
                @if let (true, Some(x)) = (is_unknown, self.scene.frame.point(until)) {
                    text class="unknown" x=(pixels(x)) y=(pixels(y + 12.0)) { "?" }
                }
            }
        }
    }

    fn grant(&self, grant: &Grant) -> Markup {
        let (Scene { recording, frame, .. }, name) = (self.scene, grant.name.as_str());
        let (until, ending) = grant.end();
        let killed = recording.killed(&grant.worker).filter(|&killed| killed < until);
        let Some(y) = self.row(&grant.worker, name) else { return html! {} };
        let (colour, number) = (self.scene.colour(name), self.scene.number(name, grant.token.get()));
        let middle = pixels(y + BAR / 2.0);
        html! {
            g class=(colour) {
                title { (grant.worker) " held " (name) " with token " (grant.token) " from " (recording.second(grant.from))
                    " to " (recording.second(until)) }
                @if let Some((x, width)) = killed.and_then(|killed| frame.span(killed, until)) {
                    rect class="blocks" x=(pixels(x)) y=(pixels(y)) width=(pixels(width)) height=(pixels(BAR)) {}
                }
                @if let Some((x, width)) = frame.span(grant.from, killed.unwrap_or(until)) {
                    rect class="holds" x=(pixels(x)) y=(pixels(y)) width=(pixels(width.max(1.0))) height=(pixels(BAR)) rx="2" {}
                    @if width >= text_width(&number) + 4.0 {
                        text class="number" x=(pixels(x + width / 2.0)) y=(pixels(y + 11.0)) { (number) }
                    }
                }
                @if let Some(lost) = grant.lost.filter(|_| ending != Ending::Released) {
                    @if let Some((x, width)) = frame.span(until, lost) {
                        path class="unaware" d=(format!("M{} {middle}h{}", pixels(x), pixels(width))) {}
                    }
                    @if let Some(x) = frame.point(lost) {
                        path class="lost" d=(format!("M{} {}l4 -4 4 4 -4 4z", pixels(x - 4.0), pixels(y + 2.0))) {}
                    }
                }
            }
        }
    }

    /// Draws a box around two tenures of one name that overlap.
    fn overlaps(&self) -> Markup {
        let mut boxes = Vec::new();
        for unsound in exclusion::unsound(self.scene.recording) {
            let Violation::Overlap { first, second, by, .. } = unsound else { continue };
            let since_began = second.from.since_origin().as_nanos() as u64;
            let from = self.scene.recording.began + since_began;
            let Some((x, width)) = self.scene.frame.span(from, from + by.as_nanos() as u64) else { continue };
            let what = format!("{} and {} held {} at once for {by:?}", first.holder, second.holder, first.name);
            for holder in [first.holder, second.holder] {
                let row = self.row(holder.as_str(), first.name.as_str());
                boxes.extend(row.map(|y| (x, y, width.max(2.0), what.clone())));
            }
        }
        html! {
            @for (x, y, width, what) in boxes {
                rect class="overlap" x=(pixels(x)) y=(pixels(y - 1.0)) width=(pixels(width)) height=(pixels(BAR + 2.0)) {
                    title { (what) }
                }
            }
        }
    }

    /// Draws the writes that the resource accepted: a dash under the row for each pixel with any.
    fn accepted(&self) -> Markup {
        let mut path = String::new();
        let mut drawn = BTreeSet::new();
        for entry in &self.scene.recording.entries {
            let Event::Accepted { name, writer, .. } = &entry.event else { continue };
            let (Some(x), Some(y)) = (self.scene.frame.point(entry.at), self.row(writer, name)) else { continue };
            if drawn.insert((x.round() as u64, y.round() as u64)) {
                let _ = write!(path, "M{} {}v2", pixels(x.round()), pixels(y + BAR));
            }
        }
        html! { path class="accepted" d=(path) {} }
    }

    /// Draws the writes that the resource refused: a cross for writes that are close together.
    fn refused(&self) -> Markup {
        let mut last = BTreeMap::new();
        let mut crosses = Vec::new();
        for entry in &self.scene.recording.entries {
            let Event::Refused { name, token, writer, largest } = &entry.event else { continue };
            let (Some(x), Some(y)) = (self.scene.frame.point(entry.at), self.row(writer, name)) else { continue };
            let is_near = last.insert(y.round() as u64, x).is_some_and(|last| x - last < 5.0);
            if !is_near {
                let number = |token| self.scene.number(name, token);
                crosses.push((
                    x,
                    y,
                    format!("{writer} was refused: {} of {name} is below {}", number(*token), number(*largest)),
                ));
            }
        }
        html! {
            @for (x, y, what) in crosses {
                g {
                    title { (what) }
                    path class="refused" d=(format!("M{} {}l8 8m0 -8l-8 8", pixels(x - 4.0), pixels(y + 7.0))) {}
                }
            }
        }
    }

    fn height(&self) -> f64 {
        self.scene.names.len().max(1) as f64 * ROW + 6.0
    }

    fn lane(&self, index: usize) -> f64 {
        self.top + GAP / 2.0 + index as f64 * (self.height() + GAP)
    }

    fn row(&self, worker: &str, name: &str) -> Option<f64> {
        let index = self.workers.iter().position(|other| *other == place(worker))?;
        Some(self.lane(index) + 4.0 + self.scene.row(name) as f64 * ROW)
    }
}

/// Returns the name of a worker without the number of its restarts: `worker-3` for `worker-3.1`.
fn place(worker: &str) -> &str {
    worker.split_once('.').map_or(worker, |(place, _)| place)
}

/// Diagonal lines that fill a rectangle. (A pattern would need an id, which must be unique in a page with many pictures.)
fn hatch(x: f64, y: f64, width: f64, height: f64) -> String {
    const DISTANCE: f64 = 6.0;
    let mut path = String::new();
    let mut start = x - height + DISTANCE;
    while start < x + width {
        let (from, to) = ((x - start).max(0.0), height.min(x + width - start));
        let _ = write!(
            path,
            "M{} {}L{} {}",
            pixels(start + from),
            pixels(y + height - from),
            pixels(start + to),
            pixels(y + height - to)
        );
        start += DISTANCE;
    }
    path
}
