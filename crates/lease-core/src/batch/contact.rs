//! When the store was called and answered last.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{Error, Moment, Result};

/// The moment that stands for none.
const NONE: u64 = 0;

/// When the store was called last, and since when it has not answered.
#[derive(Debug, Default)]
pub(crate) struct Contact {
    last_call: AtomicU64,
    unanswered_since: AtomicU64,
}

impl Contact {
    /// Notes that a call begins.
    pub(crate) fn called(&self, now: Moment) {
        let now = now.as_nanos().max(NONE + 1);
        self.last_call.fetch_max(now, Ordering::Relaxed);
        let _ = self.unanswered_since.compare_exchange(NONE, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Notes the results of a call. An answer is any result but a transient error.
    pub(crate) fn returned<'a, T: 'a>(&self, results: impl IntoIterator<Item = &'a Result<T>>) {
        if results.into_iter().any(|result| !result.as_ref().is_err_and(Error::is_transient)) {
            self.unanswered_since.store(NONE, Ordering::Relaxed);
        }
    }

    /// Returns when the store was called last, if ever.
    pub(crate) fn last_call(&self) -> Option<Moment> {
        moment(self.last_call.load(Ordering::Relaxed))
    }

    /// Returns when the first call after the last answer began, if there is one.
    pub(crate) fn unanswered_since(&self) -> Option<Moment> {
        moment(self.unanswered_since.load(Ordering::Relaxed))
    }
}

fn moment(nanoseconds: u64) -> Option<Moment> {
    (nanoseconds != NONE).then(|| Moment::from_origin(Duration::from_nanos(nanoseconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_first_call_without_an_answer_counts_until_there_is_one() {
        let (contact, at) = (Contact::default(), |seconds| Moment::from_origin(Duration::from_secs(seconds)));
        let failed = |kind| [Err::<(), _>(Error::new(kind, "acquire", "no answer"))];
        assert_eq!((contact.last_call(), contact.unanswered_since()), (None, None));
        contact.called(at(1));
        contact.returned(&failed(ErrorKind::Indeterminate));
        contact.called(at(2));
        contact.returned(&failed(ErrorKind::Unavailable));
        assert_eq!((contact.last_call(), contact.unanswered_since()), (Some(at(2)), Some(at(1))));
        contact.called(at(3));
        contact.returned(&failed(ErrorKind::Denied));
        assert_eq!((contact.last_call(), contact.unanswered_since()), (Some(at(3)), None));
        contact.called(at(4));
        contact.returned(&[Ok(())]);
        assert_eq!(contact.unanswered_since(), None);
    }
}
