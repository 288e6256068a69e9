//! Injects one defect after the other into a copy of the workspace, and runs the conformance suite of the store that has it. A
//! defect that no case finds survives: then the suite has a gap, for every other provider as well.
//!
//! The copy is a git worktree of the last commit in `target/mutants`, with a build directory of its own.

mod core;
mod document;
mod etcd;
mod postgres;
mod redis;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

/// The defects to try.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only defects whose names contain one of these, for example `redis/`.
    only: Vec<String>,
    /// Arguments of the test binary, for example a part of the names of cases. Without them, the cases of the rule that the
    /// defect breaks run first, and the whole suite if they do not find the defect.
    #[arg(last = true)]
    cases: Vec<String>,
}

/// One defect.
#[derive(Debug)]
struct Mutant {
    /// The defect, in words.
    what: &'static str,
    file: &'static str,
    /// A text that occurs once in the file.
    from: &'static str,
    to: &'static str,
}

impl Mutant {
    /// Returns how the names of the cases of its rule begin: `s07_` if it breaks S7.
    fn cases(&self) -> Option<String> {
        let rule = self.what.strip_suffix(')')?.rsplit_once('(')?.1;
        let (letter, number) = rule.split_at_checked(1)?;
        Some(format!("{}{:02}_", letter.to_lowercase(), number.parse::<u8>().ok()?))
    }

    /// Reads the file without the defect, which must contain the text once.
    fn source(&self, tree: &Path) -> Result<String> {
        let source = fs::read_to_string(tree.join(self.file)).with_context(|| self.file.to_owned())?;
        let found = source.matches(self.from).count();
        ensure!(found == 1, "{} contains this text {found} times, not once: {:?}", self.file, self.from);
        Ok(source)
    }
}

/// The defects of one package, and the suite that must find them.
struct Group {
    name: &'static str,
    suite: &'static [&'static str],
    mutants: &'static [Mutant],
}

const GROUPS: [Group; 6] = [
    Group { name: "core", suite: &["-p", "lease-memory", "--test", "conformance"], mutants: core::MUTANTS },
    Group { name: "postgres", suite: &["-p", "lease-postgres", "--test", "conformance"], mutants: postgres::MUTANTS },
    Group {
        name: "postgres-lock-order",
        suite: &["-p", "lease-postgres", "--test", "main", "lock_order::"],
        mutants: postgres::LOCK_ORDER,
    },
    Group { name: "redis", suite: &["-p", "lease-redis", "--test", "conformance"], mutants: redis::MUTANTS },
    Group { name: "etcd", suite: &["-p", "lease-etcd", "--test", "conformance"], mutants: etcd::MUTANTS },
    Group { name: "document", suite: &["-p", "lease-document", "--tests"], mutants: document::MUTANTS },
];

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let tree = worktree()?;
    let (mut tried, mut survivors) = (0, Vec::new());
    for Group { name, suite, mutants } in GROUPS {
        for mutant in mutants {
            let title = format!("{name}/{}", mutant.what);
            if !arguments.only.is_empty() && !arguments.only.iter().any(|part| title.contains(part)) {
                continue;
            }
            tried += 1;
            let killed_by = killed_by(&tree, mutant, suite, &arguments.cases).with_context(|| title.clone())?;
            if killed_by.is_empty() {
                println!("SURVIVES  {title}");
                survivors.push(title);
            } else {
                println!("killed    {title}: {} cases, {}", killed_by.len(), killed_by[0]);
            }
        }
    }
    println!("{tried} defects, {} of them not found", survivors.len());
    ensure!(tried > 0, "no defect has one of these names");
    Ok(if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn workspace() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("there is no workspace")
}

/// Checks out a clean copy of the last commit.
fn worktree() -> Result<PathBuf> {
    let workspace = workspace()?;
    let tree = workspace.join("target/mutants");
    let git = |arguments: &[&str]| -> Result<()> {
        let status = Command::new("git").current_dir(workspace).args(arguments).status().context("git")?;
        ensure!(status.success(), "git {arguments:?} failed");
        Ok(())
    };
    let path = tree.to_str().context("the path is no UTF-8 text")?;
    if !tree.exists() {
        git(&["worktree", "prune"])?;
        git(&["worktree", "add", "--quiet", "--detach", path])?;
    }
    let head = Command::new("git").current_dir(workspace).args(["rev-parse", "HEAD"]).output().context("git")?;
    let head = String::from_utf8(head.stdout)?;
    git(&["-C", path, "checkout", "--quiet", "--force", "--detach", head.trim()])?;
    Ok(tree)
}

/// The longest time of a suite in seconds: with some defects it does not end.
const TIME_LIMIT: &str = "600";

/// The exit code of `timeout` when the limit has passed.
const TIMED_OUT: i32 = 124;

/// Returns the cases that fail with this defect. A defect that does not compile is an error.
fn killed_by(tree: &Path, mutant: &Mutant, suite: &[&str], cases: &[String]) -> Result<Vec<String>> {
    let (file, right) = (tree.join(mutant.file), mutant.source(tree)?);
    let cargo = |more: &[&str]| {
        let mut command = Command::new("timeout");
        command.args([TIME_LIMIT, "cargo", "test"]).args(suite).args(more);
        command.current_dir(tree).env("CARGO_TARGET_DIR", tree.join("target"));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    fs::write(&file, right.replace(mutant.from, mutant.to))?;
    let outcome = (|| {
        if !cargo(&["--no-run"]).stdout(Stdio::null()).status()?.success() {
            bail!("the code with the defect does not compile");
        }
        let failing = |cases: &[String]| {
            let output = cargo(&["--"]).args(cases).output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            let failed = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
            let mut failed: Vec<_> = text.lines().filter_map(failed).collect();
            if failed.is_empty() && output.status.code() == Some(TIMED_OUT) {
                failed.push("the suite does not end".to_owned());
            }
            Ok(failed)
        };
        match mutant.cases() {
            Some(of_its_rule) if cases.is_empty() => match failing(&[of_its_rule])? {
                found if found.is_empty() => failing(&[]),
                found => Ok(found),
            },
            _ => failing(cases),
        }
    })();
    fs::write(&file, right)?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_defect_can_be_injected() {
        for mutant in GROUPS.iter().flat_map(|group| group.mutants) {
            let source = mutant.source(workspace().expect("a workspace"));
            assert!(source.is_ok(), "{}: {source:?}", mutant.what);
        }
    }
}
