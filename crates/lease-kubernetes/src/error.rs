//! Classifies the answers of the API server, and the failures of the client.

use std::error::Error as StdError;

use kube::client::AuthError;
use lease_core::{Error, ErrorKind, in_full};

use crate::{STORE, status::Status};

/// What a request does, and what the role must allow for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Patch,
    Delete,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    /// The kind of an error after which it is unknown whether the request was executed.
    fn unanswered(self) -> ErrorKind {
        match self {
            Self::Get | Self::List | Self::Watch => ErrorKind::Unavailable,
            Self::Create | Self::Patch | Self::Delete => ErrorKind::Indeterminate,
        }
    }
}

/// Where a request was sent, for the message of an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) operation: &'static str,
    pub(crate) verb: Verb,
    pub(crate) namespace: &'a str,
}

/// Returns the kind of each status that is not the expected one. There is one table for all.
pub(crate) fn kind_of(code: u16, verb: Verb) -> ErrorKind {
    match code {
        401 | 403 => ErrorKind::Denied,
        // The API is not served, or not this version of it.
        405 | 406 | 415 => ErrorKind::Unsupported,
        // A conflict that a retry resolves; a history that was compacted; too many requests.
        409 | 410 | 429 => ErrorKind::Unavailable,
        // The server did not get the request in time, or no answer of its storage: it may have been executed.
        408 | 500.. => verb.unanswered(),
        // A redirection included: the address is that of something else.
        300..=499 => ErrorKind::Invalid,
        ..300 => ErrorKind::Internal,
    }
}

/// Makes an error of an answer that is not the expected one.
pub(crate) fn answered(context: Context<'_>, code: u16, retry_after: Option<&str>, status: &Status) -> Error {
    let Context { operation, verb, namespace } = context;
    let verb_name = verb.as_str();
    let said = match status.message.trim() {
        "" => format!("status {code}, without a message: it may come from a proxy, and not from an API server"),
        message => format!("status {code}, {message}"),
    };
    let message = match code {
        401 => format!("the API server does not accept the credentials: renew the token or the certificate ({said})"),
        403 if said.contains("being terminated") => format!("namespace {namespace} is being deleted ({said})"),
        403 => format!(
            "the role lacks the verb `{verb_name}` on `leases` in the group `coordination.k8s.io`, in namespace {namespace}: see \
             `rbac_manifest` ({said})"
        ),
        404 if status.is_missing_namespace() => format!("there is no namespace {namespace}: create it ({said})"),
        404 => format!(
            "the address serves no Leases of coordination.k8s.io/v1 in namespace {namespace}: correct the address of the API server \
             ({said})"
        ),
        410 => format!("the history that was asked for is gone: ask anew ({said})"),
        413 | 422 => {
            format!("the API server refuses the Lease: correct what it names, or shorten the metadata ({said})")
        }
        429 => {
            let after = retry_after.map(|after| format!(" after {after} s")).unwrap_or_default();
            format!(
                "the API server has too many requests, and wants the next{after}: use longer ttls, or fewer leases ({said})"
            )
        }
        500.. => format!("the API server or its etcd has failed: look at the control plane ({said})"),
        _ => format!(
            "the API server did not {verb_name} the Lease: look whether a proxy or an admission webhook refuses it ({said})"
        ),
    };
    Error::new(kind_of(code, verb), operation, message).in_store(STORE)
}

/// Makes an error of a request that has no answer.
pub(crate) fn unanswered(context: Context<'_>, error: kube::Error) -> Error {
    let Context { operation, verb, .. } = context;
    // What a plugin of the kubeconfig prints may be a secret, so the error is no source. Nothing was sent.
    if let Some(auth) = of_credentials(&error) {
        let message = format!("there are no credentials for the API server: {}", plugin(auth));
        return Error::new(ErrorKind::Denied, operation, message).in_store(STORE);
    }
    match &error {
        kube::Error::Service(cause) => {
            let text = in_full(cause.as_ref());
            let is_unsent =
                cause.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|cause| cause.is_connect());
            let (kind, message) = if is_unsent && is_about_certificates(&text) {
                let message =
                    format!("no certificate that both sides accept: check the certificate authority ({text})");
                (ErrorKind::Invalid, message)
            } else if is_unsent {
                (ErrorKind::Unavailable, format!("the API server cannot be reached: {text}"))
            } else {
                (verb.unanswered(), format!("the API server did not answer: {text}"))
            };
            Error::new(kind, operation, message).in_store(STORE).with_source(error)
        }
        _ => {
            let message = format!("the API server did not answer: {}", in_full(&error));
            Error::new(verb.unanswered(), operation, message).in_store(STORE).with_source(error)
        }
    }
}

/// Returns why there are no credentials, if that is the cause: when the client is made, or later, when it renews them.
fn of_credentials(error: &kube::Error) -> Option<&AuthError> {
    match error {
        kube::Error::Auth(auth) => Some(auth),
        kube::Error::Service(cause) => {
            let cause: &(dyn StdError + 'static) = cause.as_ref();
            std::iter::successors(Some(cause), |&cause| cause.source()).find_map(|cause| cause.downcast_ref())
        }
        _ => None,
    }
}

/// Makes an error of an answer that broke off, or that cannot be read.
pub(crate) fn unreadable(context: Context<'_>, why: &dyn StdError) -> Error {
    let message = format!("the answer of the API server cannot be read: {}", in_full(why));
    Error::new(context.verb.unanswered(), context.operation, message).in_store(STORE)
}

/// Makes an error of an answer that is not about the object of the request, which is not believed (S25).
pub(crate) fn another_object(context: Context<'_>) -> Error {
    let message = "the answer has another Lease than the request, or another record: something between this process and the API \
                   server mixes up answers, or an admission webhook changes Leases: exempt them from it";
    Error::new(context.verb.unanswered(), context.operation, message).in_store(STORE)
}

/// Makes an error of a resourceVersion that is no number.
pub(crate) fn no_number(operation: &'static str, error: &dyn StdError) -> Error {
    let message = format!("{error}: tokens of this cluster might not rise (S9); use another store");
    Error::new(ErrorKind::Unsupported, operation, message).in_store(STORE)
}

pub(crate) fn invalid(operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, operation, message.into()).in_store(STORE)
}

/// Says what failed without what the plugin printed.
fn plugin(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { cmd, out } => format!("`{cmd}` of the kubeconfig failed: {}", out.status),
        AuthError::AuthExecParse(_) => "what the plugin of the kubeconfig prints is no ExecCredential".to_owned(),
        AuthError::ParseTokenKey(_) => "what the plugin of the kubeconfig prints has no token".to_owned(),
        other => other.to_string(),
    }
}

fn is_about_certificates(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("certificate") || text.contains("unknownissuer")
}

#[cfg(test)]
mod tests {
    use super::*;

    use ErrorKind::{Denied, Indeterminate, Internal, Invalid, Unavailable, Unsupported};

    /// Each status that an API server or a proxy sends; the kinds for a write and for a read; words of the message.
    const ANSWERS: [(u16, ErrorKind, ErrorKind, &str); 19] = [
        (200, Internal, Internal, ""),
        (302, Invalid, Invalid, ""),
        (400, Invalid, Invalid, ""),
        (401, Denied, Denied, "renew the token"),
        (403, Denied, Denied, "lacks the verb"),
        (404, Invalid, Invalid, "serves no Leases"),
        (405, Unsupported, Unsupported, ""),
        (406, Unsupported, Unsupported, ""),
        (408, Indeterminate, Unavailable, ""),
        (409, Unavailable, Unavailable, ""),
        (410, Unavailable, Unavailable, "history"),
        (413, Invalid, Invalid, "refuses"),
        (415, Unsupported, Unsupported, ""),
        (422, Invalid, Invalid, "refuses"),
        (429, Unavailable, Unavailable, "after 7 s"),
        (500, Indeterminate, Unavailable, "has failed"),
        (502, Indeterminate, Unavailable, "has failed"),
        (503, Indeterminate, Unavailable, "has failed"),
        (504, Indeterminate, Unavailable, "has failed"),
    ];

    fn context(verb: Verb) -> Context<'static> {
        Context { operation: "acquire", verb, namespace: "team" }
    }

    #[test]
    fn every_status_has_its_kind_and_says_what_to_do() {
        for (code, write, read, words) in ANSWERS {
            for verb in [Verb::Create, Verb::Patch, Verb::Delete, Verb::Get, Verb::List, Verb::Watch] {
                let kind = if verb.unanswered() == Indeterminate { write } else { read };
                let error = answered(context(verb), code, Some("7"), &Status::default());
                assert_eq!(error.kind(), kind, "{code} to {verb:?}");
                let text = error.to_string();
                assert!(text.contains(words) && text.contains(&code.to_string()), "{text}");
                assert!(code != 403 || text.contains(&format!("`{}`", verb.as_str())), "{text}");
            }
        }
    }

    #[test]
    fn a_missing_namespace_is_named() {
        let status = br#"{"kind":"Status","reason":"NotFound","details":{"kind":"namespaces","name":"team"}}"#;
        let text = answered(context(Verb::Create), 404, None, &Status::parse(status)).to_string();
        assert!(text.contains("there is no namespace team: create it"), "{text}");
    }

    /// What is secret in an error of the client stays there.
    #[test]
    fn what_a_plugin_prints_is_not_repeated() {
        let printed = || {
            let (stdout, stderr) = (b"hunter2".to_vec(), Vec::new());
            let out = std::process::Output { status: Default::default(), stdout, stderr };
            AuthError::AuthExecRun { cmd: "login".to_owned(), out: Box::new(out) }
        };
        assert!(printed().to_string().contains("hunter2"), "the client's own text has it");
        let not_json = AuthError::ParseTokenKey(serde_json::from_str::<u8>("\"hunter2\"").unwrap_err());
        // When the client is made, and when a request finds that the credentials have to be renewed.
        for error in
            [kube::Error::Auth(printed()), kube::Error::Auth(not_json), kube::Error::Service(Box::new(printed()))]
        {
            let error = unanswered(context(Verb::Patch), error);
            assert_eq!(error.kind(), Denied);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        let broken = kube::Error::Service("reset".into());
        assert_eq!(unanswered(context(Verb::Patch), broken).kind(), Indeterminate);
        assert_eq!(unanswered(context(Verb::Get), kube::Error::Service("reset".into())).kind(), Unavailable);
    }
}
