//! The clock of the store: the time since the boot of the host, counted from a moment of the wall clock.
//!
//! The moment is written down once for each boot, so that all processes count from the same one, and a wall clock that is set later
//! moves nothing. It makes times that people can read, and tokens that rise over reboots (S10).

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lease_document::Sample;

use crate::{
    host::{Boot, since_boot},
    versions::{Prepared, link_once},
};

const PREFIX: &str = ".boot-";

/// Returns what the clock shows. Reads the moment each time, because it also tells whether the directory is still the one that was
/// opened: without it somebody has emptied the directory or unmounted its file system, and no name that seems free is.
pub(crate) fn now(root: &Path, boot: &Boot) -> io::Result<Sample> {
    let epoch = read(&path(root, boot))?;
    Ok(Sample::new(epoch.saturating_add(since_boot()), Duration::from_nanos(1)))
}

/// Writes the moment down, unless another process of this boot has done so, and removes those of earlier boots.
pub(crate) fn begin(root: &Path, boot: &Boot, scratch: PathBuf) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the wall clock is read once in a boot; nothing is measured with it")]
    let wall_clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = wall_clock.saturating_sub(since_boot()).as_micros();
    link_once(&Prepared::next(scratch, epoch.to_string().into())?, &path(root, boot))?;
    read(&path(root, boot))?;
    remove_earlier(root, boot)
}

fn path(root: &Path, boot: &Boot) -> PathBuf {
    root.join(format!("{PREFIX}{}", boot.0))
}

fn remove_earlier(root: &Path, boot: &Boot) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if name.to_str().and_then(|name| name.strip_prefix(PREFIX)).is_some_and(|other| other != boot.0) {
            // Another process may have removed it.
            let _ = fs::remove_file(root.join(name));
        }
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Duration> {
    let micros = fs::read_to_string(path)?.trim().parse();
    micros.map(Duration::from_micros).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s03_all_processes_of_a_boot_count_from_the_same_moment() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let boot = Boot("this".to_owned());
        fs::write(root.join(".boot-before"), "1").unwrap();
        begin(root, &boot, root.join("a")).unwrap();
        assert!(!root.join(".boot-before").exists());
        assert!(now(root, &boot).unwrap().at > Duration::from_secs(1_700_000_000));
        // As if the wall clock had been another one when the first process came.
        fs::write(root.join(".boot-this"), "86400000000").unwrap();
        begin(root, &boot, root.join("b")).unwrap();
        assert!((86_400..1_700_000_000).contains(&now(root, &boot).unwrap().at.as_secs()));

        fs::write(root.join(".boot-this"), "yesterday").unwrap();
        assert_eq!(now(root, &boot).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::remove_file(root.join(".boot-this")).unwrap();
        assert_eq!(now(root, &boot).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
