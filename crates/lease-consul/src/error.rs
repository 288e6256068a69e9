//! Classifies failures of the network and of Consul. There is no other place where this is done.

use std::borrow::Cow;

use lease_core::{Error, ErrorKind, in_full};
use lease_document::http::{Answer, Unanswered};
use reqwest::StatusCode;

use crate::STORE;

/// What a request may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: a check of the address, the rights and the options.
    Connect,
    /// Nothing.
    Read,
    /// A document, if it may have reached the server.
    Write,
}

impl Access {
    /// Returns the kind of error of a request that may have reached the server, and was not answered.
    pub(crate) fn unanswered(self) -> ErrorKind {
        match self {
            Self::Connect | Self::Read => ErrorKind::Unavailable,
            Self::Write => ErrorKind::Indeterminate,
        }
    }
}

/// Returns an error of this store without a source.
pub(crate) fn store_error(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, operation, message).in_store(STORE)
}

/// What the token lacks.
pub(crate) fn denied(operation: &'static str, prefix: &str, text: &str) -> Error {
    let text = if text.is_empty() { "Permission denied" } else { text };
    let message = format!(
        "{text}: the token needs a policy with the rule `key_prefix \"{prefix}\" {{ policy = \"write\" }}`; without a token \
         the rules of the anonymous one apply"
    );
    store_error(ErrorKind::Denied, operation, message)
}

/// The error of a request without an answer.
pub(crate) fn of_network(operation: &'static str, access: Access, unanswered: Unanswered) -> Error {
    let is_about_certificates = unanswered.is_about_certificates();
    let (kind, message, error) = match unanswered {
        Unanswered::NotSent(error) if is_about_certificates => {
            let message = "the certificate of the agent, or ours, is refused: set the authority that has signed the agent's, and the \
                           name in it as the host";
            (ErrorKind::Invalid, message, error)
        }
        Unanswered::NotSent(error) => {
            (ErrorKind::Unavailable, "the agent cannot be reached: look whether it runs, and at its address", error)
        }
        Unanswered::Broken(error) => (access.unanswered(), "the agent has not answered", error),
        Unanswered::TooLarge(limit) => {
            let limit = limit / 1024 / 1024;
            let message = format!("the answer has more than {limit} MiB: give the leases a key prefix of their own");
            let kind = if access == Access::Write { ErrorKind::Indeterminate } else { ErrorKind::Invalid };
            return store_error(kind, operation, message);
        }
    };
    // The URL is left out: what matters of it is known.
    let error = error.without_url();
    store_error(kind, operation, format!("{message}: {}", in_full(&error))).with_source(error)
}

/// The error of an answer that is no success.
pub(crate) fn of_answer(operation: &'static str, access: Access, prefix: &str, answer: &Answer) -> Error {
    let (status, text) = (answer.status, answer.text());
    let (kind, advice) = judge(access, status, &text);
    match kind {
        ErrorKind::Denied if !text.contains("ACL not found") => denied(operation, prefix, &text),
        _ => {
            let colon = if text.is_empty() { "" } else { ": " };
            store_error(kind, operation, format!("Consul answers {}{colon}{text}{advice}", status.as_u16()))
        }
    }
}

/// The error of an answer that is not what Consul answers to this request. It is not believed (S25).
pub(crate) fn wrong_answer(operation: &'static str, access: Access) -> Error {
    let message = "the answer does not belong to the request: what is at this address is no Consul agent, or something between \
                   changes its answers";
    store_error(access.unanswered(), operation, message)
}

/// What to do when Consul limits the rate of requests.
const TOO_MANY: &str = ": too many requests for this agent or cluster; use longer ttls, or raise its limits";

fn judge(access: Access, status: StatusCode, text: &str) -> (ErrorKind, &'static str) {
    let says = |part: &str| text.contains(part);
    match status.as_u16() {
        _ if says("ACL not found") => (
            ErrorKind::Denied,
            ": Consul does not know this token; a new one takes a moment to be known, one that was deleted must be replaced",
        ),
        401 | 403 => (ErrorKind::Denied, ""),
        _ if says("Permission denied") => (ErrorKind::Denied, ""),
        400 if says("Enterprise") => (ErrorKind::Unsupported, ": leave the namespace and the partition out"),
        413 => (ErrorKind::Invalid, ": shorten the metadata, or raise txn_max_req_len in the agent's limits"),
        429 => (ErrorKind::Unavailable, TOO_MANY),
        // The transaction was refused as a whole.
        409 => (ErrorKind::Unavailable, ": the transaction was refused, and nothing was written; try again"),
        _ if says("No path to datacenter") => {
            let kind = if access == Access::Connect { ErrorKind::Invalid } else { ErrorKind::Unavailable };
            (
                kind,
                ": there is no such datacenter, or none of its servers is known here; `consul members -wan` shows them",
            )
        }
        // Nothing was proposed to the cluster.
        500.. if says("No cluster leader") || says("is not the leader") => (
            ErrorKind::Unavailable,
            ": the servers have no quorum, or elect a leader; `consul operator raft list-peers` shows them",
        ),
        500.. if says("rate limit") => (ErrorKind::Unavailable, TOO_MANY),
        // Among others: the leader has lost its office while it committed.
        500.. => (access.unanswered(), ": the agent or its servers have failed; try again, and look at their logs"),
        _ => (ErrorKind::Invalid, ": is this the address of a Consul agent's HTTP API?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use ErrorKind::{Denied, Indeterminate, Invalid, Unavailable, Unsupported};

    /// Status and text; the kinds for a write, for a read, and while connecting.
    const ANSWERS: [(u16, &str, ErrorKind, ErrorKind, ErrorKind); 18] = [
        (307, "", Invalid, Invalid, Invalid),
        (400, "Bad request: Namespaces are a Consul Enterprise feature", Unsupported, Unsupported, Unsupported),
        (400, "Failed to parse body: json: unknown field", Invalid, Invalid, Invalid),
        (401, "", Denied, Denied, Denied),
        (403, "Permission denied", Denied, Denied, Denied),
        (403, "ACL not found", Denied, Denied, Denied),
        (404, "", Invalid, Invalid, Invalid),
        (409, r#"{"Errors":[{"What":"Permission denied"}]}"#, Denied, Denied, Denied),
        (409, r#"{"Errors":[{"What":"something new"}]}"#, Unavailable, Unavailable, Unavailable),
        (413, "Request body(800058 bytes) too large", Invalid, Invalid, Invalid),
        (429, "", Unavailable, Unavailable, Unavailable),
        (500, "No path to datacenter", Unavailable, Unavailable, Invalid),
        (500, "No cluster leader", Unavailable, Unavailable, Unavailable),
        (500, "rpc error making call: node is not the leader", Unavailable, Unavailable, Unavailable),
        (500, "leadership lost while committing log", Indeterminate, Unavailable, Unavailable),
        (500, "rpc error making call: EOF", Indeterminate, Unavailable, Unavailable),
        (503, "rate limit exceeded, try again later", Unavailable, Unavailable, Unavailable),
        (502, "Bad Gateway", Indeterminate, Unavailable, Unavailable),
    ];

    #[test]
    fn an_answer_has_a_kind_and_says_what_to_do() {
        for (status, text, write, read, connect) in ANSWERS {
            let status = StatusCode::from_u16(status).unwrap();
            for (access, kind) in [(Access::Write, write), (Access::Read, read), (Access::Connect, connect)] {
                assert_eq!(judge(access, status, text).0, kind, "{status} {text} {access:?}");
                let answer = Answer { status, headers: Default::default(), body: text.into() };
                let error = of_answer("write", access, "app/leases/", &answer);
                assert_eq!(error.kind(), kind);
                assert!(error.to_string().contains(text), "{error}");
                let names_the_rule = error.to_string().contains(r#"`key_prefix "app/leases/" { policy = "write" }`"#);
                assert_eq!(names_the_rule, kind == Denied && !text.contains("ACL not found"), "{error}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_too_large_was_an_answer() {
        let of = |access| of_network("write", access, Unanswered::TooLarge(1024 * 1024)).kind();
        assert_eq!((of(Access::Read), of(Access::Write)), (Invalid, Indeterminate));
    }
}
