//! A wall clock that can be shifted under a running process.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{ServerError, account::Account, keeper::Keeper, pool, server::blocking};

/// A wall clock that can be shifted under the processes that were started with it, and under no others. Their monotonic
/// clocks go on as they are. It works for programs that ask the C library what time it is: Rust's standard library, Redis,
/// PostgreSQL; not for those written in Go.
#[derive(Debug, Clone)]
pub struct WallClock {
    library: PathBuf,
    /// By how many nanoseconds it is shifted. Mapped by the processes.
    shift: PathBuf,
}

impl WallClock {
    /// A clock that is right so far.
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

    /// The clock that another process has made.
    pub(crate) fn at(shift: PathBuf) -> Result<Self, ServerError> {
        Ok(Self { library: directory()?.join("wall_clock.so"), shift })
    }

    /// What tells it from other clocks.
    pub(crate) fn file(&self) -> &Path {
        &self.shift
    }

    /// Shows so many nanoseconds more than the right time from now on, or fewer.
    ///
    /// # Errors
    ///
    /// When its file cannot be written.
    pub fn shift(&self, nanoseconds: i64) -> Result<(), ServerError> {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&self.shift);
        file.and_then(|file| file.write_all_at(&nanoseconds.to_ne_bytes(), 0))
            .map_err(|error| ServerError::failed("the wall clock cannot be shifted", error))
    }

    /// The variables in the environment of a process that is to have this clock.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("LEASE_TEST_WALL_CLOCK", &self.shift)]
    }

    /// A command to put in front of another one.
    pub(crate) fn as_command(&self) -> Vec<String> {
        let variables = self.environment().map(|(name, value)| format!("{name}={}", value.display()));
        std::iter::once("env".to_owned()).chain(variables).collect()
    }
}

/// Where the library is, compiled by the first who asks, and the files of the clocks.
fn directory() -> Result<PathBuf, ServerError> {
    pool::directory("wall-clock", || {
        let mut keeper = Keeper::new(Account::current(), "TERM")?;
        fs::write(keeper.directory().join("wall_clock.c"), include_str!("wall_clock.c"))
            .map_err(|error| ServerError::failed("the source of the wall clock", error))?;
        keeper.run(&["cc", "-shared", "-fPIC", "-O2", "-o", "wall_clock.so", "wall_clock.c"])?;
        // Servers may run in other accounts.
        keeper.run(&["chmod", "-R", "a+rX", "."])?;
        Ok(keeper)
    })
}
