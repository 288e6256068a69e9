//! The events of a watch, one JSON value a line.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{object::Object, status::Status};

/// The longest line: an object is at most 1.5 MiB.
const LONGEST: usize = 8 * 1024 * 1024;

/// An event.
#[derive(Debug)]
pub(crate) enum Event {
    Written(Object),
    Deleted(Object),
    /// Nothing happened up to here.
    Bookmark(Object),
    /// The stream ends.
    Error(Box<Status>),
}

#[derive(Deserialize)]
struct Raw<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Event {
    pub(crate) fn parse(line: &[u8]) -> serde_json::Result<Self> {
        let Raw { r#type, object } = serde_json::from_slice(line)?;
        let object = object.get();
        Ok(match r#type {
            "DELETED" => Self::Deleted(serde_json::from_str(object)?),
            "BOOKMARK" => Self::Bookmark(serde_json::from_str(object)?),
            "ERROR" => Self::Error(Box::new(Status::parse(object.as_bytes()))),
            // ADDED, MODIFIED
            _ => Self::Written(serde_json::from_str(object)?),
        })
    }

    /// Returns from where to continue after it.
    pub(crate) fn position(&self) -> &str {
        match self {
            Self::Written(object) | Self::Deleted(object) | Self::Bookmark(object) => object.resource_version(),
            Self::Error(_) => "",
        }
    }
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
}

impl Lines {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
        let rest = self.bytes.split_off(end + 1);
        Some(std::mem::replace(&mut self.bytes, rest))
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.bytes.len() > LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_wherever_the_stream_is() {
        let mut lines = Lines::default();
        for byte in b"one\ntwo" {
            lines.push(&[*byte]);
        }
        assert_eq!(lines.next().unwrap(), b"one\n");
        assert_eq!(lines.next(), None);
        lines.push(b"\n\n");
        assert_eq!(lines.next().unwrap(), b"two\n");
        assert_eq!(lines.next().unwrap(), b"\n");
        assert!(!lines.is_too_long());
    }

    #[test]
    fn events_are_told_apart() {
        let event =
            |kind: &str, object: &str| Event::parse(format!(r#"{{"type":"{kind}","object":{object}}}"#).as_bytes());
        let object = r#"{"metadata":{"name":"job","resourceVersion":"5"},"spec":{}}"#;
        assert!(matches!(event("ADDED", object), Ok(Event::Written(_))));
        assert!(matches!(event("MODIFIED", object), Ok(Event::Written(_))));
        assert!(matches!(event("DELETED", object), Ok(Event::Deleted(_))));
        let bookmark = event(
            "BOOKMARK",
            r#"{"kind":"Lease","metadata":{"resourceVersion":"6","creationTimestamp":null},"spec":{}}"#,
        );
        assert_eq!(bookmark.unwrap().position(), "6");
        let gone = event("ERROR", r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#).unwrap();
        assert!(matches!(gone, Event::Error(status) if status.code == 410));
        assert!(event("ADDED", "{}").is_err());
        assert!(Event::parse(b"<html>").is_err());
    }
}
