//! The paths of the nodes.

use lease_core::LeaseName;
use lease_document::{escape, unescape};

/// The paths below the chroot of a store.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    chroot: String,
}

impl Paths {
    pub(crate) fn new(chroot: String) -> Self {
        Self { chroot }
    }

    /// The node above all leases.
    pub(crate) fn chroot(&self) -> &str {
        &self.chroot
    }

    /// The node that is written to learn what time it is. No lease has this node, because a dot is escaped.
    pub(crate) fn clock(&self) -> String {
        format!("{}/.clock", self.chroot)
    }

    pub(crate) fn of(&self, name: &LeaseName) -> String {
        self.of_key(&escape(name))
    }

    pub(crate) fn of_key(&self, key: &str) -> String {
        format!("{}/{key}", self.chroot)
    }

    /// Returns the lease of a node, or `None` for the nodes of others, and for those below the node of a lease.
    pub(crate) fn name(&self, path: &str) -> Option<LeaseName> {
        unescape(path.strip_prefix(&self.chroot)?.strip_prefix('/')?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s21_a_node_has_one_lease() {
        let paths = Paths::new("/app/leases".to_owned());
        let name = LeaseName::new("reports/nightly").unwrap();
        assert_eq!(paths.of(&name), "/app/leases/reports!2Fnightly");
        assert_eq!(paths.name(&paths.of(&name)), Some(name));
        for other in
            ["/app/leases", "/app/leases/", "/app/leases/.clock", "/app/leases/job/0f", "/app/leases-2/job", "/job"]
        {
            assert_eq!(paths.name(other), None, "{other}");
        }
    }
}
