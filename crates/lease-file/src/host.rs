//! What all processes of the host share, containers included: its boot, and the clock that began with it.

use std::time::Duration;

use lease_core::{ErrorKind, Result};

use crate::error::error;

/// A boot of the host. Whoever held a lease in another one has died with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot(pub(crate) String);

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    use super::*;

    const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
    const OFFSETS: &str = "/proc/self/timens_offsets";

    pub(crate) fn boot() -> Result<Boot> {
        let id = fs::read_to_string(BOOT_ID).map_err(|cause| {
            error(ErrorKind::Unsupported, format!("cannot read {BOOT_ID}, which tells a boot from others: mount /proc"))
                .with_source(cause)
        })?;
        let id = id.trim();
        if id.is_empty() || id.bytes().any(|byte| !byte.is_ascii_hexdigit() && byte != b'-') {
            return Err(error(ErrorKind::Unsupported, format!("{BOOT_ID} contains no id of a boot")));
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
