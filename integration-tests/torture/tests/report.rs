//! The report and the picture of a run.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{fs, path::PathBuf};

use roxmltree::Document;
use support::*;
use torture::{
    check::{Verdict, recording::Recording},
    picture,
    record::{Case, Degradation, Event, Sabotage},
    report,
};

fn runs(test: &str) -> PathBuf {
    let runs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("report").join(test);
    let _ = fs::remove_dir_all(&runs);
    fs::create_dir_all(&runs).unwrap();
    runs
}

fn picture_of(recording: &Recording) -> String {
    picture::draw(recording).into_string()
}

fn sound_recording() -> Recording {
    Recording::new(case(), sound()).unwrap()
}

/// Returns all elements of a class in the picture, without its legend.
fn elements<'a>(document: &'a Document<'a>, class: &str) -> Vec<roxmltree::Node<'a, 'a>> {
    let is_in_legend = |node: &roxmltree::Node<'_, '_>| node.ancestors().any(|node| node.has_attribute("transform"));
    let has_class = |node: &roxmltree::Node<'_, '_>| {
        node.attribute("class").is_some_and(|classes| classes.split(' ').any(|other| other == class))
    };
    document.descendants().filter(|node| has_class(node) && !is_in_legend(node)).collect()
}

/// Returns the left edge and the width of a rectangle.
fn extent(node: &roxmltree::Node<'_, '_>) -> (f64, f64) {
    let number = |name| node.attribute(name).unwrap().parse::<f64>().unwrap();
    (number("x"), number("width"))
}

#[test]
fn a_picture_shows_tenures_and_faults() {
    let picture = picture_of(&sound_recording());
    let document = Document::parse(&picture).unwrap();
    let count = |class| elements(&document, class).len();
    assert_eq!((count("holds"), count("blocks"), count("frozen"), count("dead")), (4, 1, 1, 1));
    assert_eq!((count("lost"), count("refused"), count("unknown"), count("overlap")), (1, 1, 1, 0));
    // Six attempts: four were granted, one was refused, and one has an unknown outcome.
    assert_eq!((count("waits"), count("fault"), count("healed"), count("lane-surface")), (6, 2, 1, 3));
    let labels: Vec<_> = elements(&document, "number").iter().filter_map(|node| node.text()).collect();
    assert_eq!(labels, ["#1", "#2", "#3", "#4"]);
    // The first tenure lasted 780 ms, the second one, which followed it, 935 ms.
    let holds = elements(&document, "holds");
    let (first, second) = (extent(&holds[0]), extent(&holds[1]));
    assert!((second.1 / first.1 - 935.0 / 780.0).abs() < 0.01, "{first:?} {second:?}");
    assert!(first.0 + first.1 <= second.0 + 0.1, "{first:?} {second:?}");
    // The dead holder blocks the name from its death on, after its tenure.
    let (held, blocks) = (extent(&holds[2]), extent(&elements(&document, "blocks")[0]));
    assert!((held.0 + held.1 - blocks.0).abs() < 0.2, "{held:?} {blocks:?}");
}

#[test]
fn a_picture_distinguishes_releases_from_losses() {
    let mut entries = sound();
    // The client reports the end of every tenure, also of one that the worker has ended.
    entries.push(entry(801, "worker-1", lost(11, 1_290)));
    entries.push(entry(2_900, "nemesis", fault_began("killed", "worker-1")));
    let picture = picture_of(&Recording::new(case(), entries).unwrap());
    let document = Document::parse(&picture).unwrap();
    assert_eq!((elements(&document, "lost").len(), elements(&document, "blocks").len()), (1, 1));
    // A worker that is killed long after its tenure held no lease until then.
    let holds = elements(&document, "holds");
    assert!((extent(&holds[1]).1 / extent(&holds[0]).1 - 935.0 / 780.0).abs() < 0.01);
}

#[test]
fn a_picture_boxes_two_holders_at_once() {
    let mut entries = sound();
    entries.iter_mut().find(|entry| entry.event == releasing(11)).unwrap().at = 850 * MILLISECOND;
    let picture = picture_of(&Recording::new(case(), entries).unwrap());
    assert_eq!(elements(&Document::parse(&picture).unwrap(), "overlap").len(), 2);
}

#[test]
fn a_picture_shows_only_the_requested_span() {
    let recording = sound_recording();
    let excerpt = picture::draw_between(&recording, 2_000 * MILLISECOND, 3_000 * MILLISECOND).into_string();
    let document = Document::parse(&excerpt).unwrap();
    assert_eq!(elements(&document, "holds").len(), 1);
    for node in document.descendants().filter(|node| node.has_attribute("x") && node.has_attribute("width")) {
        let (x, width) = extent(&node);
        assert!(x >= 0.0 && x + width <= 1_012.1, "{node:?} leaves the picture");
    }
}

#[test]
fn the_same_record_makes_the_same_picture() {
    assert!(picture_of(&sound_recording()) == picture_of(&sound_recording()));
    let mut other_order = sound();
    other_order.sort_by(|one, two| two.by.cmp(&one.by));
    assert!(picture_of(&Recording::new(case(), other_order).unwrap()) == picture_of(&sound_recording()));
}

#[test]
fn texts_of_the_record_are_escaped() {
    let evil = "<script>alert('1')</script>&\"";
    let name = "jobs/<b>&\"quoted\"</b>";
    let mut entries = sound();
    for entry in &mut entries {
        let text = serde_json::to_string(entry).unwrap();
        let escaped = serde_json::to_string(name).unwrap();
        *entry = serde_json::from_str(&text.replace("\"job\"", &escaped)).unwrap();
        if let Event::FaultBegan { fault, .. } | Event::FaultEnded { fault, .. } = &mut entry.event
            && fault == "killed"
        {
            *fault = evil.into();
        }
    }
    entries.push(entry(4_900, "resource", Event::Accepted { name: name.into(), token: 9, writer: evil.into() }));
    let runs = runs("escaped");
    support::write(&runs.join("case"), &Case { fault: evil.into(), ..case() }, &entries);
    let report = report::write(&runs).unwrap();
    let page = fs::read_to_string(report.page).unwrap();
    assert!(page.contains("&lt;script&gt;"));
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    let picture = fs::read_to_string(runs.join("case/picture.svg")).unwrap();
    assert!(
        Document::parse(&picture)
            .unwrap()
            .descendants()
            .any(|node| node.text().is_some_and(|text| text.contains(evil)))
    );
}

#[test]
fn a_page_has_no_external_parts() {
    let runs = runs("alone");
    support::write(&runs.join("case"), &case(), &sound());
    let page = fs::read_to_string(report::write(&runs).unwrap().page).unwrap();
    let links: Vec<_> = page.match_indices("http").map(|(at, _)| &page[at..at + 26]).collect();
    assert_eq!(links, ["http://www.w3.org/2000/svg"], "only the name of SVG");
    for outside in ["src=", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_report_has_every_case_and_fails_if_one_fails() {
    let runs = runs("cases");
    support::write(&runs.join("a"), &case(), &sound());
    let report = report::write(&runs).unwrap();
    assert!(report.passed());
    let mut unsound = sound();
    unsound.push(entry(2_502, "resource", accepted(12, "worker-2")));
    support::write(&runs.join("b"), &Case { store: "etcd".into(), fault: "cut".into(), ..case() }, &unsound);
    let report = report::write(&runs).unwrap();
    assert!(!report.passed());
    let stores: Vec<_> = report.verdicts.iter().map(|verdict| verdict.case.store.as_str()).collect();
    assert_eq!(stores, ["etcd", "postgres"]);
    let page = fs::read_to_string(&report.page).unwrap();
    assert!(page.contains("1 of 2 cases passed") && page.contains("FAILED") && page.contains("C3: at 2.502"));
    let saved: Vec<Verdict> = serde_json::from_str(&fs::read_to_string(runs.join("report.json")).unwrap()).unwrap();
    assert_eq!(saved, report.verdicts);
    let text = report::text(&report.verdicts);
    assert!(text.contains("worker frozen") && text.contains("etcd, cut, seed 7: C3: at 2.502"), "{text}");
}

#[test]
fn an_injected_defect_is_named() {
    let runs = runs("sabotaged");
    let sabotaged = Case { sabotage: Some(Sabotage::CounterReset), ..case() };
    support::write(&runs.join("case"), &sabotaged, &sound());
    let report = report::write(&runs).unwrap();
    assert!(!report.passed());
    let text = report::text(&report.verdicts);
    assert!(text.contains("defect: counter reset") && text.contains("MISSED"), "{text}");
}

#[test]
fn a_report_without_cases_fails() {
    let report = report::write(&runs("nothing")).unwrap();
    assert!(report.verdicts.is_empty() && !report.passed());
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_of_the_report() {
    let runs = runs("unreadable");
    support::write(&runs.join("case"), &case(), &sound());
    fs::write(runs.join("case/worker-9.jsonl"), "nonsense\n").unwrap();
    assert!(report::write(&runs).unwrap_err().to_string().contains("worker-9.jsonl:1"));
}

#[test]
fn a_documented_degradation_is_reported_and_passes() {
    let runs = runs("degraded");
    let mut entries = sound();
    entries.iter_mut().find(|entry| entry.event == releasing(11)).unwrap().at = 850 * MILLISECOND;
    support::write(&runs.join("case"), &Case { degradation: Some(Degradation::Overlap), ..case() }, &entries);
    let report = report::write(&runs).unwrap();
    assert!(report.passed());
    assert!(report::text(&report.verdicts).contains("C1, as documented: 1 time"), "{}", report::text(&report.verdicts));
    assert!(fs::read_to_string(report.page).unwrap().contains("two holders for 45ms"));
}
