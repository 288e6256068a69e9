//! The answer of a script to one request.

use std::time::{Duration, SystemTime};

use fred::prelude::Value;
use lease_core::{Acquired, FencingToken, Grant, HolderId, LeaseName, LeaseRecord, LossReason, Metadata};

/// The answer to one request: a number in the usual case, fields otherwise.
#[derive(Debug)]
pub(crate) enum Answer {
    Number(u64),
    Fields(Vec<String>),
}

impl Answer {
    /// Parses the answers to all requests. Returns `None` if one of them has another shape.
    pub(super) fn parse_all(values: Vec<Value>) -> Option<Vec<Self>> {
        values.into_iter().map(Self::parse).collect()
    }

    fn parse(value: Value) -> Option<Self> {
        match value {
            Value::Integer(number) => number.try_into().ok().map(Self::Number),
            Value::Array(fields) => fields.iter().map(text).collect::<Option<_>>().map(Self::Fields),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Fields(_) => None,
        }
    }

    /// Returns the first field, which says what the others are.
    pub(super) fn kind(&self) -> &str {
        self.field(0)
    }

    pub(super) fn field(&self, at: usize) -> &str {
        match self {
            Self::Number(_) => "",
            Self::Fields(fields) => fields.get(at).map_or("", String::as_str),
        }
    }

    pub(super) fn token(&self, at: usize) -> Option<FencingToken> {
        self.field(at).parse().ok().and_then(FencingToken::new)
    }

    pub(super) fn duration(&self, at: usize) -> Duration {
        Duration::from_micros(self.field(at).parse().unwrap_or(0))
    }

    /// Parses `granted`, token, remaining microseconds.
    pub(super) fn grant(&self) -> Option<Grant> {
        Some(Grant::new(self.token(1)?, self.duration(2)))
    }

    /// Parses `held`, holder, token, acquired, ttl, remaining microseconds, metadata, state.
    pub(super) fn record(&self, name: &LeaseName) -> Option<LeaseRecord> {
        Some(
            LeaseRecord::new(
                name.clone(),
                HolderId::from_store(self.field(1)),
                self.token(2)?,
                self.duration(4),
                self.duration(5),
            )
            .with_acquired_at(SystemTime::UNIX_EPOCH + self.duration(3))
            .with_metadata(parse_metadata(self.field(6)))
            .with_released(self.field(7) == "r"),
        )
    }

    pub(super) fn held(&self, name: &LeaseName) -> Acquired {
        Acquired::Held { by: self.record(name), retry_after: Some(self.duration(5)) }
    }

    /// Parses `lost`, reason, or `taken`, holder, token.
    pub(super) fn loss(&self) -> Option<LossReason> {
        Some(match (self.kind(), self.field(1)) {
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

/// Parses metadata. Returns none if other software has written something else there.
fn parse_metadata(text: &str) -> Metadata {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_shape_is_refused() {
        assert!(Answer::parse_all(vec![Value::Null]).is_none());
        assert!(Answer::parse_all(vec![Value::Integer(-1)]).is_none());
        let fields = |fields: &[&str]| Answer::Fields(fields.iter().map(|&field| field.to_owned()).collect());
        assert!(fields(&["granted", "0", "5"]).grant().is_none());
        assert!(fields(&["granted"]).grant().is_none());
        assert!(fields(&["lost", "somehow"]).loss().is_none());
        assert_eq!(fields(&["granted", "9007199254740991", "5"]).grant().unwrap().token.get(), 9_007_199_254_740_991);
    }
}
