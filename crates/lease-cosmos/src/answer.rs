//! What an answer says of itself.

use lease_document::http::Answer;

/// Returns whether the service has made this answer, and not something on the way to it (S19).
pub(crate) fn is_genuine(answer: &Answer) -> bool {
    answer.header("x-ms-activity-id").is_some()
}

/// Returns the reason beyond the status; 0 if there is none.
pub(crate) fn substatus(answer: &Answer) -> u32 {
    answer.header("x-ms-substatus").and_then(|value| value.parse().ok()).unwrap_or_default()
}
