//! What all processes of the host share, containers included: its boot, and the clock that began with it.

use std::time::Duration;

use lease_core::{ErrorKind, Result};

use crate::error::error;

/// A boot of the host. Whoever held a lease in another one has died with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot(pub(crate) String);

#[cfg(target_os = "linux")]
mod linux {
    use std::{fs, path::Path};

    use super::*;
    use crate::file_system::magic;

    const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
    const OFFSETS: &str = "/proc/self/timens_offsets";
    /// The magic number of `/proc` (statfs(2)).
    const PROC: u64 = 0x9FA0;

    pub(crate) fn boot() -> Result<Boot> {
        boot_in(Path::new(BOOT_ID))
    }

    /// Reads the id of the kernel. Some container managers mount a file of their own over it: then each container has another id, and
    /// would take the living holders of the host and of other containers for dead.
    pub(super) fn boot_in(path: &Path) -> Result<Boot> {
        let shown = path.display();
        let unreadable = |cause: std::io::Error| {
            error(ErrorKind::Unsupported, format!("cannot read {shown}, which tells a boot from others: mount /proc"))
                .with_source(cause)
        };
        if magic(path).map_err(unreadable)? != PROC {
            let message = format!(
                "{shown} is not that of the kernel: the container has a boot id of its own, as with systemd-nspawn, LXC and Incus, so \
                 it cannot tell which holders are alive; run `umount {shown}` when the container starts, or use a store with a server"
            );
            return Err(error(ErrorKind::Unsupported, message));
        }
        let id = fs::read_to_string(path).map_err(unreadable)?;
        let id = id.trim();
        if id.is_empty() || id.bytes().any(|byte| !byte.is_ascii_hexdigit() && byte != b'-') {
            return Err(error(ErrorKind::Unsupported, format!("{shown} contains no id of a boot")));
        }
        Ok(Boot(id.to_owned()))
    }

    /// Refuses a process whose boot clock is not that of the host.
    pub(crate) fn refuse_time_namespace() -> Result<()> {
        // A kernel without time namespaces has no such file.
        refuse_offsets(&fs::read_to_string(OFFSETS).unwrap_or_default())
    }

    pub(super) fn refuse_offsets(offsets: &str) -> Result<()> {
        let is_shifted = |line: &str| {
            let mut words = line.split_whitespace();
            words.next() == Some("boottime") && words.any(|word| word.parse::<i64>() != Ok(0))
        };
        if !offsets.lines().any(is_shifted) {
            return Ok(());
        }
        let message = "this process is in a time namespace with a boot clock of its own, so it cannot agree with others about the \
                       end of a lease: start its container without a time namespace";
        Err(error(ErrorKind::Unsupported, message))
    }

    pub(crate) fn since_boot() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(time).unwrap_or_default()
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    use super::*;

    pub(crate) fn boot() -> Result<Boot> {
        Err(error(ErrorKind::Unsupported, "lease-file runs on Linux only: use another store on this system"))
    }

    pub(crate) fn refuse_time_namespace() -> Result<()> {
        Ok(())
    }

    pub(crate) fn since_boot() -> Duration {
        Duration::ZERO
    }
}

pub(crate) use linux::{boot, refuse_time_namespace, since_boot};

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_that_is_not_the_kernels_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("boot_id");
        std::fs::write(&path, "0d2e8c46-8a0f-4f0c-9a37-5b7c8f1f2a11\n").unwrap();
        let refused = linux::boot_in(&path).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.to_string().contains("the container has a boot id of its own"), "{refused}");
        let missing = linux::boot_in(&directory.path().join("none")).unwrap_err();
        assert!(missing.kind() == ErrorKind::Unsupported && missing.to_string().contains("cannot read"), "{missing}");
    }
}
