//! A wall clock that can be shifted under a running process.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{ServerError, account::Account, keeper::Keeper, pool, server::blocking};

/// A wall clock that can be shifted under the processes that were started with it. Their monotonic clocks are not affected.
/// It works for programs that read the time through the C library (Rust's standard library, Redis, PostgreSQL), and not for
/// those written in Go.
#[derive(Debug, Clone)]
pub struct WallClock {
    library: PathBuf,
    /// The file with the shift in nanoseconds, which the processes map into their memory.
    shift: PathBuf,
}

impl WallClock {
    /// Creates a clock with a shift of zero.
    ///
    /// # Errors
    ///
    /// When there is no C compiler.
    pub async fn new() -> Result<Self, ServerError> {
        blocking(Self::make).await
    }

    fn make() -> Result<Self, ServerError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let clock = Self::at(directory()?.join(format!("shift-{}-{number}", std::process::id())))?;
        clock.shift(0)?;
        Ok(clock)
    }

    /// Opens a clock that another process has created.
    pub(crate) fn at(shift: PathBuf) -> Result<Self, ServerError> {
        Ok(Self { library: directory()?.join("wall_clock.so"), shift })
    }

    /// Returns the id of this clock.
    pub(crate) fn file(&self) -> &Path {
        &self.shift
    }

    /// Sets the shift of the clock against the right time, in nanoseconds.
    ///
    /// # Errors
    ///
    /// When its file cannot be written.
    pub fn shift(&self, nanoseconds: i64) -> Result<(), ServerError> {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&self.shift);
        file.and_then(|file| file.write_all_at(&nanoseconds.to_ne_bytes(), 0))
            .map_err(|error| ServerError::failed("cannot shift the wall clock", error))
    }

    /// Returns the environment variables for a process with this clock.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("LEASE_TEST_WALL_CLOCK", &self.shift)]
    }

    /// Returns a command that runs another command with this clock.
    pub(crate) fn as_command(&self) -> Vec<String> {
        let variables = self.environment().map(|(name, value)| format!("{name}={}", value.display()));
        std::iter::once("env".to_owned()).chain(variables).collect()
    }
}

/// The directory of the library, which the first caller compiles, and of the files of the clocks.
fn directory() -> Result<PathBuf, ServerError> {
    pool::directory("wall-clock", || {
        let mut keeper = Keeper::new(Account::current(), "TERM")?;
        fs::write(keeper.directory().join("wall_clock.c"), include_str!("wall_clock.c"))
            .map_err(|error| ServerError::failed("cannot write the source of the wall clock", error))?;
        keeper.run(&["cc", "-shared", "-fPIC", "-O2", "-o", "wall_clock.so", "wall_clock.c"])?;
        // Servers may run in other accounts.
        keeper.run(&["chmod", "-R", "a+rX", "."])?;
        Ok(keeper)
    })
}
