//! Retrying an operation while a lease is held.

use std::{error::Error as StdError, fmt, future::Future, time::Duration};

use super::lease::LeaseHandle;
use crate::{LeaseLost, Retry};

/// How often the remaining validity is checked while an attempt waits for a renewal, in parts of the renewal interval.
const CHECKS: u32 = 16;
/// The shortest time between two checks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

impl LeaseHandle {
    /// Attempts an operation until it succeeds, by this policy, for as long as the lease is held.
    ///
    /// No attempt begins that could not end before the lease's deadline. An attempt with a
    /// [timeout](Retry::attempt_timeout) begins if the remaining validity is longer than its timeout; one without begins if at
    /// least half of a full validity remains. Otherwise the attempt waits for the next renewal. An attempt that runs when the lease
    /// is lost is dropped (S5).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use std::time::Duration;
    /// use lease_core::{LeaseClient, Retry};
    /// # use lease_memory::MemoryStore;
    ///
    /// # let client = LeaseClient::new(MemoryStore::new());
    /// # let mut failures = 2;
    /// # let mut upload = |_token: u64| { failures -= 1; std::future::ready(if failures > 0 { Err("busy") } else { Ok(17) }) };
    /// let lease = client.acquire("upload", Duration::from_secs(30)).await?;
    /// let token = lease.token().get();
    /// let retry = Retry::fast().with_attempt_timeout(Duration::from_secs(2));
    /// let uploaded = lease.retry(&retry, || upload(token)).await;
    /// assert_eq!(uploaded.unwrap(), 17);
    /// # Ok::<(), lease_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// * [`RetryError::Lost`] as soon as the lease is lost. Whether the last attempt had an effect is then unknown: send the token
    ///   with it, so that the resource can reject it.
    /// * [`RetryError::Exhausted`] when the last attempt has failed.
    /// * [`RetryError::TimeoutTooLong`] at once, if an attempt could never fit into the validity of the lease.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the running attempt.
    pub async fn retry<T, E, F, Fut>(&self, retry: &Retry, mut operation: F) -> Result<T, RetryError<E>>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let validity = self.tenure.schedule.longest_validity();
        if let Some(timeout) = retry.attempt_timeout.filter(|timeout| *timeout >= validity) {
            return Err(RetryError::TimeoutTooLong { timeout, validity });
        }
        let needed = retry.attempt_timeout.unwrap_or(validity / 2);
        let mut attempt = 0;
        loop {
            self.until_remaining(needed).await?;
            attempt += 1;
            let last = match self.while_held(self.within(retry.attempt_timeout, operation())).await? {
                Some(Ok(output)) => return Ok(output),
                Some(Err(error)) => Some(error),
                None => None,
            };
            if !retry.has_another(attempt) {
                return Err(RetryError::Exhausted { attempts: attempt, last });
            }
            let delay = retry.delay(attempt, self.tenure.token.get());
            self.while_held(self.sleep(delay)).await?;
        }
    }

    /// Waits until more than this much validity remains.
    async fn until_remaining(&self, needed: Duration) -> Result<(), LeaseLost> {
        let pause = (self.tenure.schedule.interval / CHECKS).max(SHORTEST_PAUSE);
        loop {
            if let Some(lost) = self.tenure.loss() {
                return Err(lost);
            }
            if self.remaining() > needed {
                return Ok(());
            }
            self.while_held(self.sleep(pause)).await?;
        }
    }

    /// Returns `None` if the timeout passes.
    async fn within<O>(&self, timeout: Option<Duration>, operation: impl Future<Output = O>) -> Option<O> {
        let Some(timeout) = timeout else { return Some(operation.await) };
        tokio::select! {
            biased;
            output = operation => Some(output),
            () = self.sleep(timeout) => None,
        }
    }

    async fn sleep(&self, duration: Duration) {
        let clock = &self.shared.clock;
        clock.sleep_until(clock.now() + duration).await;
    }
}

/// The error of [`LeaseHandle::retry`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryError<E> {
    /// The lease was lost. Whether the last attempt had an effect is unknown.
    Lost(LeaseLost),
    /// All attempts failed.
    #[non_exhaustive]
    Exhausted {
        /// The number of attempts.
        attempts: u32,
        /// The error of the last attempt; `None` if it timed out.
        last: Option<E>,
    },
    /// The timeout of one attempt is longer than the validity of the lease: shorten the timeout, or raise the ttl.
    #[non_exhaustive]
    TimeoutTooLong {
        /// The timeout of one attempt.
        timeout: Duration,
        /// How long the lease is valid after a renewal at the most: its maximum tenure may be shorter.
        validity: Duration,
    },
}

impl<E> From<LeaseLost> for RetryError<E> {
    fn from(lost: LeaseLost) -> Self {
        Self::Lost(lost)
    }
}

impl<E: fmt::Display> fmt::Display for RetryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(lost) => write!(f, "{lost}; whether the last attempt had an effect is unknown"),
            Self::Exhausted { attempts, last: Some(error) } => write!(f, "all {attempts} attempts failed: {error}"),
            Self::Exhausted { attempts, last: None } => {
                write!(f, "all {attempts} attempts failed: the last one timed out")
            }
            Self::TimeoutTooLong { timeout, validity } => write!(
                f,
                "an attempt timeout of {timeout:?} does not fit into the {validity:?} for which the lease is valid: shorten it, or \
                 raise the ttl"
            ),
        }
    }
}

impl<E: StdError + 'static> StdError for RetryError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Lost(lost) => Some(lost),
            Self::Exhausted { last, .. } => last.as_ref().map(|error| error as _),
            Self::TimeoutTooLong { .. } => None,
        }
    }
}
