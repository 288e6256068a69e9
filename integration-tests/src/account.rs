//! The user account that a server runs in.

use std::{os::unix::process::CommandExt, process::Command};

/// A user account: that of this process, or another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account(Option<(u32, u32)>);

impl Account {
    /// Returns the account of this process.
    pub(crate) const fn current() -> Self {
        Self(None)
    }

    /// Returns the account of this process, unless it is root: then the named one, or else `nobody`. PostgreSQL refuses to
    /// run as root.
    pub(crate) fn but_not_root(name: &str) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::current();
        }
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self(Some(find(&accounts, name).or_else(|| find(&accounts, "nobody")).unwrap_or((65534, 65534))))
    }

    /// Returns the user and group ids, if this is another account than that of this process.
    pub(crate) fn ids(self) -> Option<(u32, u32)> {
        self.0
    }

    /// Makes the command run in this account, without the supplementary groups of this process.
    pub(crate) fn run(self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            // `uid` also clears the supplementary groups when root asks for it.
            command.uid(user).gid(group);
        }
    }
}

fn find(accounts: &str, name: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (user, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (user == name).then_some(())?;
        Some((uid.parse().ok()?, gid.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nnobody2:x:7:8::/:\nnobody:x:65534:65533::/:\n";
        assert_eq!(find(accounts, "nobody"), Some((65534, 65533)));
        assert_eq!(find(accounts, "postgres"), None);
    }
}
