//! A picture of a run: a lane for each worker with its tenures, and above them a lane with the faults.
//!
//! The picture is an SVG without external parts. It follows the reader's light or dark scheme, and is the same for the same record.

mod faults;
mod frame;
mod lanes;
mod legend;

use std::collections::BTreeMap;

use lease_core::LeaseName;
use maud::{Markup, PreEscaped, html};

use self::{
    faults::Faults,
    frame::{Frame, pixels},
    lanes::Lanes,
    legend::Legend,
};
use crate::{
    check::recording::Recording,
    record::{Case, Event},
};

/// The data that all parts of a picture share.
struct Scene<'a> {
    recording: &'a Recording,
    frame: Frame,
    names: Vec<LeaseName>,
    /// The tokens of each name, in order: a picture numbers them, since they have up to sixteen digits.
    tokens: BTreeMap<&'a str, Vec<u64>>,
}

/// Draws a run, from the first moment at which something happened to the last one.
#[must_use]
pub fn draw(recording: &Recording) -> Markup {
    let happened = recording.entries.iter().filter(|entry| {
        !matches!(entry.event, Event::Counted { .. } | Event::Requests { .. } | Event::NotGranted { .. })
    });
    let moments = || happened.clone().map(|entry| entry.at);
    let (from, until) = (moments().min().unwrap_or(0), moments().max().unwrap_or(0));
    draw_between(recording, from, until)
}

/// Draws the part of a run between two moments.
#[must_use]
pub fn draw_between(recording: &Recording, from: u64, until: u64) -> Markup {
    let mut tokens = BTreeMap::<_, Vec<_>>::new();
    for grant in &recording.grants {
        tokens.entry(grant.name.as_str()).or_default().push(grant.token.get());
    }
    for tokens in tokens.values_mut() {
        tokens.sort_unstable();
        tokens.dedup();
    }
    let frame = Frame::new(recording.began, from, until);
    let scene = Scene { recording, frame, names: recording.names(), tokens };
    let legend = Legend::of(&scene, 34.0);
    let faults = Faults::of(&scene, legend.bottom() + 8.0);
    let lanes = Lanes::of(&scene, faults.bottom() + 6.0);
    let (top, bottom) = (legend.bottom() + 8.0, lanes.bottom());
    let (width, height) = (scene.frame.right() + 16.0, bottom + 28.0);
    html! {
        svg xmlns="http://www.w3.org/2000/svg" class="run" viewBox=(format!("0 0 {} {}", pixels(width), pixels(height)))
            width=(pixels(width)) height=(pixels(height)) role="img" {
            title { (caption(&recording.case)) }
            style { (PreEscaped(include_str!("picture/style.css"))) }
            rect class="surface" width=(pixels(width)) height=(pixels(height)) {}
            text class="caption" x="16" y="22" { (caption(&recording.case)) }
            (legend.draw())
            (lanes.backgrounds())
            (faults.bands(lanes.top(), bottom))
            (scene.frame.grid(top, bottom))
            (healed(&scene, top, bottom))
            (faults.draw())
            (lanes.draw())
        }
    }
}

fn caption(case: &Case) -> String {
    format!("{} · {} · seed {}", case.store, case.fault, case.seed)
}

fn healed(scene: &Scene<'_>, top: f64, bottom: f64) -> Markup {
    let moments = scene.recording.entries.iter().filter(|entry| entry.event == Event::Healed);
    html! {
        @for x in moments.filter_map(|entry| scene.frame.point(entry.at)) {
            path class="healed" d=(format!("M{x} {top}V{bottom}", x = pixels(x), top = pixels(top), bottom = pixels(bottom))) {}
        }
    }
}

impl Scene<'_> {
    /// Returns the rank of a token among those of its name.
    fn number(&self, name: &str, token: u64) -> String {
        let rank = self.tokens.get(name).map_or(0, |tokens| tokens.partition_point(|&other| other <= token));
        format!("#{rank}")
    }

    /// Returns the CSS class of a name, which has its colour.
    fn colour(&self, name: &str) -> String {
        const COLOURS: usize = 6;
        format!("name-{}", self.row(name) % COLOURS)
    }

    /// Returns the number of a name, which is its row in every lane.
    fn row(&self, name: &str) -> usize {
        self.names.iter().position(|other| other.as_str() == name).unwrap_or(0)
    }
}
