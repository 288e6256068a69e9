//! The report: a table for the terminal, and a page with all figures and a picture of each case.

mod columns;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::columns::COLUMNS;
use crate::{
    check::{Verdict, recording::Recording},
    picture,
};

/// The report on a run: the verdicts on its cases, and the path of the page.
#[derive(Debug)]
pub struct Report {
    /// The verdicts, in the order of stores, faults and seeds.
    pub verdicts: Vec<Verdict>,
    /// `report.html`; beside it is `report.json`, with the verdicts for programs.
    pub page: PathBuf,
}

/// A case on the page.
struct Case {
    directory: PathBuf,
    verdict: Verdict,
    picture: Markup,
}

/// Judges and draws every case of a run, which has a directory for each. Writes `report.html` and `report.json` into the
/// directory of the run, and `picture.svg` into that of each case.
///
/// # Errors
///
/// Returns an error if a record cannot be read, or a file cannot be written.
pub fn write(runs: &Path) -> Result<Report> {
    let mut cases = Vec::new();
    for directory in directories_of_cases(runs)? {
        let recording = Recording::read(&directory)?;
        let picture = picture::draw(&recording);
        write_file(&directory.join("picture.svg"), &picture.clone().into_string())?;
        cases.push(Case { directory, verdict: Verdict::of(&recording), picture });
    }
    cases.sort_by_cached_key(|Case { directory, verdict, .. }| {
        (verdict.case.store.clone(), verdict.case.fault.clone(), verdict.case.seed, directory.clone())
    });
    let page = runs.join("report.html");
    write_file(&page, &draw_page(&cases).into_string())?;
    let verdicts: Vec<_> = cases.into_iter().map(|case| case.verdict).collect();
    write_file(&runs.join("report.json"), &serde_json::to_string_pretty(&verdicts)?)?;
    Ok(Report { verdicts, page })
}

/// Formats the verdicts as a table for a terminal, with all violations below it.
#[must_use]
pub fn text(verdicts: &[Verdict]) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_header(["store"].into_iter().chain(COLUMNS.iter().map(|column| column.title)));
    for verdict in verdicts {
        let figures = COLUMNS.iter().map(|column| (column.cell)(verdict));
        table.add_row([verdict.case.store.clone()].into_iter().chain(figures));
    }
    let mut text = table.to_string();
    for Verdict { case, violations, degradations, .. } in verdicts {
        let case = format!("{}, {}, seed {}", case.store, case.fault, case.seed);
        for violation in violations {
            text += &format!("\n{case}: {violation}");
        }
        for same in degradations.chunk_by(|one, two| one.check == two.check) {
            let times = if same.len() == 1 { "time" } else { "times" };
            text += &format!("\n{case}: {}, as documented: {} {times}", same[0].check.number(), same.len());
        }
    }
    text
}

impl Report {
    /// Returns whether there are cases and all of them passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        passed(&self.verdicts)
    }
}

fn passed<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> bool {
    let mut verdicts = verdicts.into_iter().peekable();
    verdicts.peek().is_some() && verdicts.all(Verdict::passed)
}

fn directories_of_cases(runs: &Path) -> Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for file in fs::read_dir(runs).with_context(|| format!("cannot read {}", runs.display()))? {
        let path = file?.path();
        if path.join("case.json").exists() {
            directories.push(path);
        }
    }
    directories.sort();
    Ok(directories)
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn draw_page(cases: &[Case]) -> Markup {
    let good = cases.iter().filter(|case| case.verdict.passed()).count();
    let summary = format!("{good} of {} cases passed.", cases.len());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Torture test" }
                style { (PreEscaped(include_str!("report/style.css"))) }
            }
            body {
                h1 { "Torture test" }
                p class=(if passed(cases.iter().map(|case| &case.verdict)) { "good verdict" } else { "bad verdict" }) { (summary) }
                p { "Worker processes contend for leases of a real store while faults are injected into them, the network and \
                    the server. Each process records its tenures by the clock of the host. A checker judges the record \
                    afterwards." }
                @for (index, of_store) in cases.chunk_by(|one, two| one.verdict.case.store == two.verdict.case.store).enumerate() {
                    h2 { (of_store[0].verdict.case.store) }
                    (draw_table(of_store, index))
                }
                h2 { "The figures" }
                dl {
                    @for column in COLUMNS {
                        dt { (column.title.replace('\n', " ")) }
                        dd { (column.meaning) }
                    }
                }
                @for (index, of_store) in cases.chunk_by(|one, two| one.verdict.case.store == two.verdict.case.store).enumerate() {
                    @for (number, case) in of_store.iter().enumerate() { (draw_case(case, &anchor(index, number))) }
                }
            }
        }
    }
}

/// Returns the anchor of a case on the page.
fn anchor(store: usize, number: usize) -> String {
    format!("case-{}-{}", store + 1, number + 1)
}

fn draw_table(cases: &[Case], store: usize) -> Markup {
    html! {
        div class="wide" { table {
            thead { tr { @for column in COLUMNS { th { (lines(column.title)) } } } }
            tbody { @for (number, Case { verdict, .. }) in cases.iter().enumerate() {
                tr class=(if verdict.passed() { "good" } else { "bad" }) {
                    @for (index, column) in COLUMNS.iter().enumerate() {
                        @let cell = (column.cell)(verdict);
                        td { @if index == 0 { a href=(format!("#{}", anchor(store, number))) { (lines(&cell)) } } @else { (lines(&cell)) } }
                    }
                }
            } }
        } }
    }
}

fn draw_case(case: &Case, anchor: &str) -> Markup {
    let Case { verdict, picture, directory } = case;
    html! {
        section id=(anchor) {
            h2 { (verdict.case.store) ": " (verdict.case.fault) }
            p { span class=(if verdict.passed() { "good verdict" } else { "bad verdict" }) { (columns::verdict(verdict)) }
                " Seed " (verdict.case.seed)
                @if let Some(directory) = directory.file_name() { ", record in " code { (directory.to_string_lossy()) } } "." }
            (draw_violations("Violations", &verdict.violations))
            (draw_violations("Documented degradation: no client can prevent it, and tokens still order the holders", &verdict.degradations))
            div class="wide" { (picture) }
        }
    }
}

fn draw_violations(title: &str, violations: &[crate::check::Violation]) -> Markup {
    html! {
        @if !violations.is_empty() {
            p { (title) ":" }
            ul { @for violation in violations { li { (violation) } } }
        }
    }
}

fn lines(text: &str) -> Markup {
    html! { @for (index, line) in text.lines().enumerate() { @if index > 0 { br; } (line) } }
}
