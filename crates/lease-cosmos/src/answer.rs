//! An answer of the service.

use lease_document::Sample;
use reqwest::{
    StatusCode,
    header::{AGE, DATE, HeaderMap, HeaderName},
};

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns the time of the server that has made this answer.
    pub(crate) fn clock(&self) -> Option<Sample> {
        Sample::from_http(self.header(DATE.as_str()), self.header(AGE.as_str()))
    }

    /// Returns whether the service has made this answer, and not something on the way to it (S19).
    pub(crate) fn is_genuine(&self) -> bool {
        self.header("x-ms-activity-id").is_some()
    }

    /// Returns the reason beyond the status; 0 if there is none.
    pub(crate) fn substatus(&self) -> u32 {
        self.header("x-ms-substatus").and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(HeaderName::from_bytes(name.as_bytes()).ok()?)?.to_str().ok()
    }

    /// Returns the beginning of the body, for people.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned();
        text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect::<String>().trim().to_owned()
    }
}
