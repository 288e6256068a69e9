//! The processes of this machine, and signals to them.

use std::{collections::HashSet, process::Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::ServerError;

/// A process, at the time of the list.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    id: u32,
    parent: u32,
    /// The state: the first letter that `ps` shows (R, S, D, T, Z, …).
    state: char,
    /// The threads that have not ended, and at least one.
    threads: u32,
}

impl Process {
    /// Returns all processes.
    pub(crate) fn list() -> Result<Vec<Self>, ServerError> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Self::list_by_ps() };
        let mut processes = Vec::new();
        for entry in entries.flatten() {
            let stat = entry.path().join("stat");
            if entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit)
                // A process that has ended since is left out.
                && let Ok(stat) = std::fs::read(stat)
            {
                processes.extend(Self::parse_stat(&String::from_utf8_lossy(&stat)));
            }
        }
        if processes.is_empty() { Self::list_by_ps() } else { Ok(processes) }
    }

    /// Returns the living descendants of a process, parents first. A signal to the process group of the first one would miss
    /// some: servers such as PostgreSQL put each child into a group of its own.
    pub(crate) fn all_below(ancestor: u32) -> Result<Vec<Self>, ServerError> {
        let mut rest = Self::list()?;
        let mut found: Vec<Self> = Vec::new();
        let mut parents = HashSet::from([ancestor]);
        loop {
            let (below, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|it| parents.contains(&it.parent));
            if below.is_empty() {
                found.retain(|process| !process.has_ended());
                return Ok(found);
            }
            parents = below.iter().map(|process| process.id).collect();
            found.extend(below);
            rest = others;
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.eq_ignore_ascii_case(&'T')
    }

    /// Returns whether the process is in a newer list, and has not ended.
    pub(crate) fn is_alive_as(&self, other: &Self) -> bool {
        self.id == other.id && !other.has_ended()
    }

    /// Returns whether the process has ended, and waits for its parent. Its first thread may end before the others, which still have
    /// its sockets.
    fn has_ended(&self) -> bool {
        self.state == 'Z' && self.threads <= 1
    }

    /// Sends a signal. A process that has ended is not an error.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(id) = i32::try_from(self.id).ok().and_then(Pid::from_raw) {
            let _ = kill_process(id, signal);
        }
    }

    fn parse_stat(stat: &str) -> Option<Self> {
        // The name of the command, in parentheses, may contain any character.
        let (before, after) = stat.rsplit_once(')')?;
        let mut fields = after.split_whitespace();
        Some(Self {
            id: before.split(' ').next()?.parse().ok()?,
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            threads: fields.nth(15).and_then(|threads| threads.parse().ok()).unwrap_or(1),
        })
    }

    /// Lists processes without `/proc`.
    fn list_by_ps() -> Result<Vec<Self>, ServerError> {
        let output = Command::new("ps")
            .args(["-A", "-o", "pid=", "-o", "ppid=", "-o", "state="])
            .output()
            .map_err(|error| ServerError::failed("cannot list processes: no /proc, and no ps", error))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(Self::parse_ps).collect())
    }

    fn parse_ps(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        Some(Self {
            id: fields.next()?.parse().ok()?,
            parent: fields.next()?.parse().ok()?,
            state: fields.next()?.chars().next()?,
            threads: 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_hides_nothing() {
        let process = Process::parse_stat("42 (evil) S 1 (x) T 7 42 42 0 -1").unwrap();
        assert_eq!((process.id, process.parent, process.state), (42, 7, 'T'));
        assert!(process.is_stopped());
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_has_not() {
        let stat = |threads| format!("42 (java) Z 7 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 {threads} 0 5");
        assert!(!Process::parse_stat(&stat(3)).unwrap().has_ended());
        assert!(Process::parse_stat(&stat(1)).unwrap().has_ended());
    }

    #[test]
    fn both_ways_of_listing_find_this_process() {
        let here = std::process::id();
        assert!(Process::list().unwrap().iter().any(|process| process.id == here));
        if let Ok(processes) = Process::list_by_ps() {
            assert!(processes.iter().any(|process| process.id == here));
        }
    }
}
