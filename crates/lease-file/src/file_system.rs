//! The file systems that are known to belong to one host.

use std::path::Path;

use lease_core::{ErrorKind, Result};

use crate::error::{error, io_error};

/// The magic numbers of statfs(2). A file system that is not here may be shared by several hosts, whose clocks differ, and of which
/// each would take the holders of the others for dead.
const LOCAL: [(u64, &str); 8] = [
    (0xEF53, "ext2, ext3, ext4"),
    (0x5846_5342, "XFS"),
    (0x9123_683E, "Btrfs"),
    (0x2FC1_2FC1, "ZFS"),
    (0xF2F5_2010, "F2FS"),
    (0xCA45_1A4E, "bcachefs"),
    (0x0102_1994, "tmpfs"),
    (0x794C_7630, "overlay"),
];

/// Refuses a directory that may be on a network.
pub(crate) fn refuse_shared(directory: &Path) -> Result<()> {
    refuse_type(magic(directory).map_err(|cause| io_error("open", directory, cause))?, directory)
}

#[cfg(target_os = "linux")]
pub(crate) fn magic(directory: &Path) -> std::io::Result<u64> {
    // Some architectures have a signed type, others a narrower one.
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, reason = "the type differs between architectures")]
    Ok(rustix::fs::statfs(directory)?.f_type as u64 & 0xFFFF_FFFF)
}

#[cfg(not(target_os = "linux"))]
fn magic(_: &Path) -> std::io::Result<u64> {
    Ok(0)
}

fn refuse_type(magic: u64, directory: &Path) -> Result<()> {
    if LOCAL.iter().any(|(local, _)| *local == magic) {
        return Ok(());
    }
    let names: Vec<_> = LOCAL.iter().map(|(_, name)| *name).collect();
    let message = format!(
        "{} is on a file system of type {magic:#x}, which other hosts may share, as with NFS, SMB, FUSE or Ceph: use a directory on \
         one of {}, or a store with a server",
        directory.display(),
        names.join(", ")
    );
    Err(error(ErrorKind::Unsupported, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_a_network_are_refused() {
        // NFS, SMB, SMB2, FUSE, 9p, Ceph, GFS2, OCFS2, Lustre, vboxsf, AFS, and one that nobody knows.
        let shared = [
            0x6969,
            0xFF53_4D42,
            0xFE53_4D42,
            0x6573_5546,
            0x0102_1997,
            0x00C3_6400,
            0x0116_1970,
            0x7461_636F,
            0x0BD0_0BD0,
            0x786F_4256,
            0x5346_414F,
            1,
        ];
        for magic in shared {
            let refused = refuse_type(magic, Path::new("/leases")).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unsupported);
            assert!(refused.to_string().contains("/leases is on a file system"), "{refused}");
        }
        assert!(LOCAL.iter().all(|(magic, _)| refuse_type(*magic, Path::new("/leases")).is_ok()));
    }
}
