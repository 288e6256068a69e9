//! Session tokens, by which an account of the consistency `Session` shows a client at least what it was shown before.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// More than an account has physical partitions.
const MAX_RANGES: usize = 4096;

/// The newest token of each range of partition keys.
#[derive(Debug, Default)]
pub(crate) struct Session(Mutex<BTreeMap<String, String>>);

impl Session {
    /// Learns from the header of an answer: `range:token`, or several with commas in between.
    pub(crate) fn learn(&self, header: &str) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (range, token) in header.split(',').filter_map(|part| part.trim().split_once(':')) {
            if tokens.len() >= MAX_RANGES {
                tokens.clear();
            }
            // Answers may come in another order than they were made in.
            if tokens.get(range).is_none_or(|known| age(known) <= age(token)) {
                tokens.insert(range.to_owned(), token.to_owned());
            }
        }
    }

    /// Returns the header of a request; `None` before the first answer.
    pub(crate) fn header(&self) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<_> = tokens.iter().map(|(range, token)| format!("{range}:{token}")).collect();
        (!parts.is_empty()).then(|| parts.join(","))
    }
}

/// Returns version and sequence number of a token: `version#number#…`, or only a number.
fn age(token: &str) -> (i64, u64) {
    let mut parts = token.split('#').map(str::parse::<i64>);
    match (parts.next(), parts.next()) {
        (Some(Ok(version)), Some(Ok(number))) => (version, u64::try_from(number).unwrap_or_default()),
        (Some(Ok(number)), None) => (i64::MIN, u64::try_from(number).unwrap_or_default()),
        _ => (i64::MIN, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_token_of_each_range_is_sent() {
        let session = Session::default();
        assert_eq!(session.header(), None);
        for header in ["0:-1#12", "1:-1#7#3=5", "0:-1#9", "nonsense", "1:-1#8#3=6,2:44", "2:5"] {
            session.learn(header);
        }
        assert_eq!(session.header().unwrap(), "0:-1#12,1:-1#8#3=6,2:44");
        session.learn("0:1#2");
        assert!(session.header().unwrap().contains("0:1#2"), "a newer version begins anew");
    }
}
