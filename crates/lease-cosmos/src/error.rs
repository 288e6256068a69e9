//! Classifies failures of the network and of the service. There is no other place where this is done.

use std::borrow::Cow;

use lease_core::{Error, ErrorKind, in_full};
use lease_document::http::{Answer, Unanswered};

use crate::{
    STORE,
    answer::{is_genuine, substatus},
};

/// What a request may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Read,
    /// An item, if it may have reached the service.
    Write,
}

impl Access {
    /// Returns the kind of error of a request that may have reached the service, and was not answered.
    pub(crate) fn unanswered(self) -> ErrorKind {
        match self {
            Self::Read => ErrorKind::Unavailable,
            Self::Write => ErrorKind::Indeterminate,
        }
    }
}

/// Returns an error of this store without a source.
pub(crate) fn store_error(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, operation, message).in_store(STORE)
}

/// The error of a request without an answer.
pub(crate) fn of_network(operation: &'static str, access: Access, unanswered: Unanswered) -> Error {
    let is_about_certificates = unanswered.is_about_certificates();
    let (kind, message, error) = match unanswered {
        Unanswered::NotSent(error) if is_about_certificates => {
            let message = "the certificate of the endpoint is refused: set the authority that has signed it";
            (ErrorKind::Invalid, message, error)
        }
        Unanswered::NotSent(error) => {
            (ErrorKind::Unavailable, "the endpoint cannot be reached: look at it, and at the network", error)
        }
        Unanswered::Broken(error) => (access.unanswered(), "the service has not answered", error),
        Unanswered::TooLarge(limit) => {
            let message = format!(
                "the answer has more than {} MiB: give the leases a container of their own",
                limit / 1024 / 1024
            );
            let kind = if access == Access::Write { ErrorKind::Indeterminate } else { ErrorKind::Invalid };
            return store_error(kind, operation, message);
        }
    };
    let error = error.without_url();
    store_error(kind, operation, format!("{message}: {}", in_full(&error))).with_source(error)
}

/// The error of an answer that is no success.
pub(crate) fn of_answer(operation: &'static str, access: Access, answer: &Answer) -> Error {
    let (status, substatus) = (answer.status.as_u16(), substatus(answer));
    if !is_genuine(answer) && status < 500 && status != 429 {
        let message = format!("something answers {status} that is no Cosmos DB account: check the endpoint");
        return store_error(ErrorKind::Invalid, operation, message);
    }
    let (kind, advice) = judge(access, status, substatus);
    let mut message = format!("Cosmos DB answers {status}");
    if substatus != 0 {
        message += &format!("/{substatus}");
    }
    let text = answer.text();
    if !text.is_empty() {
        message += &format!(": {text}");
    }
    message += advice;
    if let Some(wait) = answer.header("x-ms-retry-after-ms") {
        message += &format!("; it asks to wait for {wait} ms");
    }
    if let Some(charge) = answer.header("x-ms-request-charge") {
        message += &format!("; charge {charge} RU");
    }
    store_error(kind, operation, message)
}

/// The error of an answer that is not what the service answers to this request. It is not believed (S25).
pub(crate) fn wrong_answer(operation: &'static str, access: Access) -> Error {
    let message =
        "the answer does not belong to the request: something between this process and Cosmos DB changes its answers";
    store_error(access.unanswered(), operation, message)
}

fn judge(access: Access, status: u16, substatus: u32) -> (ErrorKind, &'static str) {
    match (status, substatus) {
        (401, _) => (
            ErrorKind::Denied,
            ": the key or the token is not one of this account, or the clock of this host is wrong by more than fifteen minutes",
        ),
        // Nothing was written: the region takes no writes, as after a fail-over.
        (403, 3) => {
            (ErrorKind::Unavailable, ": this region takes no writes; use the endpoint of the account, not of a region")
        }
        (403, 1014) => (
            ErrorKind::Invalid,
            ": a partition key has more data than it may; give the leases a container of their own",
        ),
        (403, _) => (
            ErrorKind::Denied,
            ": a key must not be a read-only one, an identity needs the role `Cosmos DB Built-in Data Contributor` on the container, and \
             the firewall must let this host in",
        ),
        // The replica has not got what the session has seen: the item may well be there (S19).
        (404, 1002) => (ErrorKind::Unavailable, ": the replica is behind; try again"),
        (404, _) => {
            (ErrorKind::Invalid, ": there is no such database or container; create it with the partition key /id")
        }
        (408, _) => (access.unanswered(), ": the service was too slow; try again"),
        (413, _) => (ErrorKind::Invalid, ": shorten the metadata"),
        (429, _) => (ErrorKind::Unavailable, ": the throughput of the container is used up; raise its request units"),
        // Nothing was written: another write of the item was under way.
        (449, _) => (ErrorKind::Unavailable, ": another write of the item was in flight; try again"),
        // A partition has moved, or the service fails.
        (410 | 500.., _) => (access.unanswered(), ": a partition moves, or the service has failed; try again"),
        _ => (ErrorKind::Invalid, ": check the endpoint, the database and the container"),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};

    use super::*;

    use ErrorKind::{Denied, Indeterminate, Invalid, Unavailable};

    /// Status and substatus; the kinds for a write and for a read.
    const ANSWERS: [(u16, u32, ErrorKind, ErrorKind); 16] = [
        (400, 0, Invalid, Invalid),
        (401, 0, Denied, Denied),
        (403, 0, Denied, Denied),
        (403, 3, Unavailable, Unavailable),
        (403, 1014, Invalid, Invalid),
        (404, 0, Invalid, Invalid),
        (404, 1002, Unavailable, Unavailable),
        (404, 1003, Invalid, Invalid),
        (408, 0, Indeterminate, Unavailable),
        (410, 1002, Indeterminate, Unavailable),
        (413, 0, Invalid, Invalid),
        (429, 3200, Unavailable, Unavailable),
        (449, 0, Unavailable, Unavailable),
        (500, 0, Indeterminate, Unavailable),
        (503, 0, Indeterminate, Unavailable),
        (302, 0, Invalid, Invalid),
    ];

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Answer {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: b"{\"code\":\"X\"}".to_vec() }
    }

    #[test]
    fn an_answer_has_a_kind_and_says_what_it_cost() {
        for (status, substatus, write, read) in ANSWERS {
            for (access, kind) in [(Access::Write, write), (Access::Read, read)] {
                let substatus = substatus.to_string();
                let headers = [
                    ("x-ms-activity-id", "1"),
                    ("x-ms-substatus", &*substatus),
                    ("x-ms-request-charge", "5.7"),
                    ("x-ms-retry-after-ms", "12"),
                ];
                let error = of_answer("write", access, &answer(status, &headers));
                assert_eq!(error.kind(), kind, "{error}");
                assert!(error.to_string().contains("charge 5.7 RU") && error.to_string().contains("12 ms"), "{error}");
            }
        }
    }

    /// What stands between may answer anything: only the service says that an item is not there.
    #[test]
    fn an_answer_of_something_else_is_told_apart() {
        let error = of_answer("read", Access::Read, &answer(404, &[]));
        assert!(error.kind() == Invalid && error.to_string().contains("endpoint"), "{error}");
        assert_eq!(of_answer("write", Access::Write, &answer(502, &[])).kind(), Indeterminate);
        assert_eq!(of_answer("write", Access::Write, &answer(429, &[])).kind(), Unavailable);
    }
}
