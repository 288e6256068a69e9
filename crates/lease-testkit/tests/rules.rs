//! Checks that each rule of SAFETY.md has a test that is named after it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use lease_testkit::{CASES, elections};

const ELECTION_CASES: &[&str] = elections!(@list @names);

/// Rules of clients and of what belongs to a runtime in a provider. No store behind a [`Harness`](lease_testkit::Harness) can
/// show them, so each provider with a server has tests of its own.
const TESTED_BY_EACH_PROVIDER: [&str; 1] = ["L10"];

const PROVIDERS: [&str; 3] = ["lease-postgres", "lease-redis", "lease-etcd"];

/// A row of the tables in SAFETY.md.
struct Rule {
    /// `S7`.
    id: String,
    is_reserved: bool,
}

impl Rule {
    /// Returns how the names of the tests of this rule begin: `s07_`.
    fn prefix(&self) -> String {
        let (letter, number) = self.id.split_at(1);
        format!("{}{number:0>2}_", letter.to_lowercase())
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rules() -> Vec<Rule> {
    let text = fs::read_to_string(workspace().join("SAFETY.md")).unwrap();
    let rule = |line: &str| {
        let (id, text) = line.strip_prefix("| ")?.split_once(" | ")?;
        let number = id.strip_prefix(['S', 'L'])?;
        let is_rule = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_rule.then(|| Rule { id: id.to_owned(), is_reserved: text.starts_with("*(") && text.contains("reserved") })
    };
    text.lines().filter_map(rule).collect()
}

#[test]
fn rules_are_numbered_without_gaps() {
    for (letter, at_least) in [('S', 25), ('L', 10)] {
        let ids: Vec<_> = rules().into_iter().map(|rule| rule.id).filter(|id| id.starts_with(letter)).collect();
        let expected: Vec<_> = (1..=ids.len()).map(|number| format!("{letter}{number}")).collect();
        assert_eq!(ids, expected);
        assert!(ids.len() >= at_least, "rules were read from SAFETY.md: {ids:?}");
    }
}

#[test]
fn every_rule_is_cited_by_a_case() {
    let cases = || CASES.iter().chain(ELECTION_CASES);
    for rule in rules() {
        let is_cited = cases().any(|case| case.starts_with(&rule.prefix()));
        let is_expected = !rule.is_reserved && !TESTED_BY_EACH_PROVIDER.contains(&&*rule.id);
        assert_eq!(
            is_cited,
            is_expected,
            "a case of the conformance suite or of elections! is named {}…",
            rule.prefix()
        );
    }
}

#[test]
fn each_provider_tests_the_rules_that_no_case_can_show() {
    for rule in rules().iter().filter(|rule| TESTED_BY_EACH_PROVIDER.contains(&&*rule.id)) {
        let start = format!("fn {}", rule.prefix());
        for provider in PROVIDERS {
            let tests = workspace().join("crates").join(provider).join("tests/main");
            let mut files = fs::read_dir(tests).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
            let is_tested = files.any(|path| fs::read_to_string(path).unwrap().contains(&start));
            assert!(is_tested, "{provider} has no test of {}: {start}…", rule.id);
        }
    }
}
