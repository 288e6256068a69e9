//! What a script answers to one element, and what it means to a request.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use fred::prelude::Value;
use lease_core::{
    AcquireRequest, Acquired, FencingToken, Grant, GrantId, HolderId, LeaseName, LeaseRecord, LossReason, Metadata,
};

/// What a script answers: a number where all went as usual, otherwise words.
#[derive(Debug)]
pub(crate) enum Answer {
    Number(u64),
    Words(Vec<String>),
}

impl Answer {
    /// The answers to all elements; nothing when they are none.
    pub(crate) fn read_all(elements: Vec<Value>) -> Option<Vec<Self>> {
        elements.into_iter().map(Self::read).collect()
    }

    fn read(value: Value) -> Option<Self> {
        match value {
            Value::Integer(number) => number.try_into().ok().map(Self::Number),
            Value::Array(words) => words.iter().map(text).collect::<Option<_>>().map(Self::Words),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Words(_) => None,
        }
    }

    /// The first word, which says what the others are.
    pub(crate) fn kind(&self) -> &str {
        self.word(0)
    }

    pub(crate) fn word(&self, at: usize) -> &str {
        match self {
            Self::Number(_) => "",
            Self::Words(words) => words.get(at).map_or("", String::as_str),
        }
    }

    pub(crate) fn token(&self, at: usize) -> Option<FencingToken> {
        self.word(at).parse().ok().and_then(FencingToken::new)
    }

    pub(crate) fn duration(&self, at: usize) -> Duration {
        Duration::from_micros(self.word(at).parse().unwrap_or(0))
    }

    /// `granted`, token, microseconds left.
    pub(crate) fn grant(&self) -> Option<Grant> {
        Some(Grant::new(self.token(1)?, self.duration(2)))
    }

    /// `held`, holder, token, acquired, ttl, microseconds left, metadata, state.
    pub(crate) fn record(&self, name: &LeaseName) -> Option<LeaseRecord> {
        Some(
            LeaseRecord::new(
                name.clone(),
                HolderId::from_store(self.word(1)),
                self.token(2)?,
                self.duration(4),
                self.duration(5),
            )
            .with_acquired_at(SystemTime::UNIX_EPOCH + self.duration(3))
            .with_metadata(metadata_from(self.word(6)))
            .with_released(self.word(7) == "r"),
        )
    }

    pub(crate) fn held(&self, name: &LeaseName) -> Acquired {
        Acquired::Held { by: self.record(name), retry_after: Some(self.duration(5)) }
    }

    /// `lost` and a reason, or `taken`, holder, token.
    pub(crate) fn loss(&self) -> Option<LossReason> {
        Some(match (self.kind(), self.word(1)) {
            ("taken", holder) => LossReason::taken_over(HolderId::from_store(holder), self.token(2)),
            ("lost", "gone") => LossReason::Gone,
            ("lost", "broken") => LossReason::Broken,
            ("lost", "released") => LossReason::Released,
            ("lost", "expired") => LossReason::Expired,
            _ => return None,
        })
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_string()),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whose a grant is, as the record of one in force has it: the lines from the state to the holder.
pub(crate) fn owner(grant: GrantId, holder: &HolderId) -> String {
    owner_and(grant, holder, "")
}

/// A grant that is new, as its record has it: the lines from the state on. Nobody has it reserved, and its metadata are revision 0.
pub(crate) fn granted(request: &AcquireRequest) -> String {
    let (ttl, metadata) = (in_microseconds(request.ttl), metadata_text(&request.metadata));
    owner_and(request.grant, &request.holder, &format!("\n{ttl}\n0\n{metadata}"))
}

/// Exactly as large as it must be, or the driver copies it.
fn owner_and(grant: GrantId, holder: &HolderId, more: &str) -> String {
    const STATE_AND_NONCE: usize = 35;
    let holder = one_line(holder);
    let mut text = String::with_capacity(STATE_AND_NONCE + holder.len() + 1 + more.len());
    text.push_str("h\n");
    // As it is displayed, in less than half the time.
    let digits = (0..32).rev().filter_map(|at| char::from_digit((grant.as_u128() >> (4 * at)) as u32 & 15, 16));
    text.extend(digits);
    for part in ["\n", &*holder, "\n", more] {
        text.push_str(part);
    }
    text
}

/// A holder id has no control characters. One that does not keep to it does not get at another line of the record.
pub(crate) fn one_line(holder: &HolderId) -> Cow<'_, str> {
    let id = holder.as_str();
    if id.contains('\n') { Cow::Owned(id.replace('\n', " ")) } else { Cow::Borrowed(id) }
}

/// A duration in microseconds, rounded up, as a ttl is; at most a hundred years, so that the server can count with it.
pub(crate) fn in_microseconds(duration: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    i64::try_from(duration.min(CENTURY).as_nanos().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// As the record has it: nothing, where there is nothing to say.
pub(crate) fn metadata_text(metadata: &Metadata) -> String {
    if metadata.is_empty() { String::new() } else { serde_json::to_string(metadata).unwrap_or_default() }
}

/// What other software wrote there is not shown.
fn metadata_from(text: &str) -> Metadata {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_line_each_of_state_nonce_and_holder() {
        for bits in [0, 0x0123_4567_89ab_cdef, u128::MAX, u128::MAX - 1, 1 << 127] {
            let (grant, holder) = (GrantId::from_u128(bits), HolderId::new("pod-1").unwrap());
            let owner = owner(grant, &holder);
            assert_eq!(owner, format!("h\n{grant}\npod-1\n"));
            assert_eq!(owner.capacity(), owner.len());
        }
    }

    #[test]
    fn a_ttl_is_rounded_up_to_a_microsecond() {
        assert_eq!(in_microseconds(Duration::from_nanos(1)), 1);
        assert_eq!(in_microseconds(Duration::from_nanos(1000)), 1);
        assert_eq!(in_microseconds(Duration::from_nanos(1001)), 2);
        assert_eq!(in_microseconds(Duration::MAX), 3_153_600_000_000_000);
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        assert!(Answer::read_all(vec![Value::Null]).is_none());
        assert!(Answer::read_all(vec![Value::Integer(-1)]).is_none());
        let words = |words: &[&str]| Answer::Words(words.iter().map(|&word| word.to_owned()).collect());
        assert!(words(&["granted", "0", "5"]).grant().is_none());
        assert!(words(&["granted"]).grant().is_none());
        assert!(words(&["lost", "somehow"]).loss().is_none());
        assert_eq!(words(&["granted", "9007199254740991", "5"]).grant().unwrap().token.get(), 9_007_199_254_740_991);
    }
}
