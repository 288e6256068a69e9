//! Programs and files that `integration-tests/run --with` has installed, and where else they may be.

use std::{env, path::PathBuf};

use crate::ServerError;

/// Returns the path that this variable names; else the program of this name in `PATH`; else what the run has installed in its cache,
/// at this path there.
pub(crate) fn find(variable: &str, program: Option<&str>, cached: &str) -> Result<PathBuf, ServerError> {
    if let Some(named) = path_in(variable) {
        return match named.exists() {
            true => Ok(named),
            false => Err(ServerError::NoServer(format!("{variable} names {}, which is not there", named.display()))),
        };
    }
    let in_cache = cache().map(|cache| cache.join(cached));
    let found = program.and_then(in_path).or_else(|| in_cache.clone().filter(|path| path.exists()));
    found.ok_or_else(|| {
        let places =
            [program.map(|name| format!("no {name} in PATH")), in_cache.map(|path| format!("no {}", path.display()))];
        let places: Vec<_> = places.into_iter().flatten().collect();
        ServerError::NoServer(format!("{}, and {variable} is not set", places.join(", ")))
    })
}

/// Returns the file of a program of `PATH`.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// The directory that the scripts in `install/` write to, which have the same rule.
fn cache() -> Option<PathBuf> {
    path_in("LEASE_TEST_CACHE").or_else(|| {
        let caches = path_in("XDG_CACHE_HOME").or_else(|| Some(path_in("HOME")?.join(".cache")))?;
        Some(caches.join("lease-tests"))
    })
}

/// Returns the path that a variable names.
pub(crate) fn path_in(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nowhere_is_an_error_that_names_the_places() {
        let error = find("LEASE_TEST_NOTHING", Some("no-such-program"), "no/such-file").unwrap_err().to_string();
        for place in ["LEASE_TEST_NOTHING", "no-such-program", "no/such-file"] {
            assert!(error.contains(place), "{error}");
        }
    }

    #[test]
    fn a_program_of_the_path_comes_before_the_cache() {
        assert_eq!(find("LEASE_TEST_NOTHING", Some("sh"), "sh").unwrap().file_name().unwrap(), "sh");
    }
}
