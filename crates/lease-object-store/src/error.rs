//! Classifies failures. There is no other place where this is done.
//!
//! No error of the driver becomes the source of ours: its text has the URL and the body of the answer, which may repeat a token.

use std::{borrow::Cow, error::Error as StdError};

use lease_core::{Error, ErrorKind};
use object_store::client::{HttpError, HttpErrorKind};

use crate::{
    answer::{Answer, Meaning},
    call::Observed,
    service::Service,
};

/// Whether a request may change an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Access {
    /// Returns the kind of the error of a request that may have reached the service, and was not answered.
    fn unanswered(self) -> ErrorKind {
        match self {
            Self::Read => ErrorKind::Unavailable,
            Self::Write => ErrorKind::Indeterminate,
        }
    }
}

/// What a failure of the driver means.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A write was refused: the object has another version, or there is one, or none.
    Conflict,
    /// There is no such object.
    Missing,
    /// The call failed.
    Failed(Error),
}

/// Returns an error of connecting.
pub(crate) fn connect_error(kind: ErrorKind, store: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, "connect", message).in_store(store)
}

/// Who classifies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Classifier {
    pub(crate) service: Service,
}

impl Classifier {
    /// Classifies an error of the driver.
    pub(crate) fn classify(
        self,
        operation: &'static str,
        access: Access,
        error: &object_store::Error,
        observed: &Observed,
    ) -> Failure {
        let (kind, message) = match observed.status {
            Some(status) => match self.of_answer(access, Answer::new(status, observed.code.as_deref())) {
                Ok(failure) => return failure,
                Err(failed) => failed,
            },
            None if observed.sent > 0 => of_transport(access, observed.failure, error),
            None if self.observes_all() => self.of_preparation(error),
            None => match self.of_driver(access, error) {
                Ok(failure) => return failure,
                Err(failed) => failed,
            },
        };
        // The driver has repeated the write, and only its last answer is known: an earlier one may have been executed.
        let kind = if observed.sent > 1 && access == Access::Write { ErrorKind::Indeterminate } else { kind };
        Failure::Failed(Error::new(kind, operation, message).in_store(self.service.store()))
    }

    /// Returns whether our connector sees every request, so that one that it has not seen was never sent. What is between us and the
    /// connector of a store that the application has built is unknown.
    fn observes_all(self) -> bool {
        self.service != Service::Given
    }

    /// What the service answered.
    fn of_answer(self, access: Access, answer: Answer<'_>) -> Result<Failure, (ErrorKind, String)> {
        let container = self.service.container();
        let (kind, what) = match answer.meaning() {
            Meaning::Conflict if access == Access::Write => return Ok(Failure::Conflict),
            Meaning::NoObject if access == Access::Write => return Ok(Failure::Conflict),
            Meaning::NoObject if answer.has_code() => return Ok(Failure::Missing),
            // A proxy that has lost its way to the service says so, too: the object may well be there (S19).
            Meaning::NoObject => (
                ErrorKind::Unavailable,
                "something answers that is not the service, which names what it does not find: check the endpoint and the \
                 proxies before it, or try again"
                    .to_owned(),
            ),
            Meaning::Conflict | Meaning::Busy => {
                (ErrorKind::Unavailable, format!("the {container} is being changed: try again later"))
            }
            Meaning::NoContainer => (
                ErrorKind::Invalid,
                format!("the {container} does not exist: create it, or correct the URL of the store"),
            ),
            Meaning::Denied => (ErrorKind::Denied, format!("the request is refused: {}", self.service.advice())),
            Meaning::Expired => (
                ErrorKind::Denied,
                "the credentials have expired, or this machine's clock is wrong: renew them, or set the clock"
                    .to_owned(),
            ),
            Meaning::Region => {
                (ErrorKind::Invalid, format!("the {container} is in another region or at another endpoint: set both"))
            }
            Meaning::Protected => (
                ErrorKind::Invalid,
                format!(
                    "the object may not be replaced, because a retention policy, a hold or Azure's own lease protects it: use a \
                     {container} without"
                ),
            ),
            Meaning::Throttled => (
                ErrorKind::Unavailable,
                "too many requests: use longer ttls and poll intervals, or fewer leases in one prefix".to_owned(),
            ),
            Meaning::Unsupported => (
                ErrorKind::Unsupported,
                "the service does not implement conditional writes: use another one, or a newer version".to_owned(),
            ),
            Meaning::Unknown => (access.unanswered(), "the service has failed: try again".to_owned()),
            Meaning::Unexpected => (
                ErrorKind::Invalid,
                "the request is not understood: check the URL and the options of the store".to_owned(),
            ),
        };
        Err((kind, format!("{what} (answer: {answer})")))
    }

    /// A call that was not sent.
    fn of_preparation(self, error: &object_store::Error) -> (ErrorKind, String) {
        if let Some(unsupported) = of_unsupported(error) {
            return unsupported;
        }
        let advice = self.service.advice();
        // The issuer of the credentials has answered; the driver has no type for it. It refuses with a 4xx, but for those that say later.
        let says = |what| causes(error).any(|cause| cause.to_string().contains(what));
        if says("status code: 4") && !says("status code: 408") && !says("status code: 429") {
            return (ErrorKind::Denied, format!("the issuer of the credentials has refused: {advice}"));
        }
        (ErrorKind::Unavailable, format!("no credentials could be obtained, and nothing was sent: {advice}"))
    }

    /// The driver's word, where nothing is observed.
    fn of_driver(self, access: Access, error: &object_store::Error) -> Result<Failure, (ErrorKind, String)> {
        use object_store::Error as Driver;
        match error {
            Driver::NotFound { .. } if access == Access::Read => Ok(Failure::Missing),
            Driver::NotFound { .. } | Driver::AlreadyExists { .. } | Driver::Precondition { .. }
                if access == Access::Write =>
            {
                Ok(Failure::Conflict)
            }
            Driver::PermissionDenied { .. } | Driver::Unauthenticated { .. } => {
                Err((ErrorKind::Denied, format!("the request is refused: {}", self.service.advice())))
            }
            _ => Err(of_unsupported(error).unwrap_or_else(|| {
                let http = causes(error).find_map(|cause| cause.downcast_ref::<HttpError>());
                of_transport(access, http.map(HttpError::kind), error)
            })),
        }
    }
}

fn of_unsupported(error: &object_store::Error) -> Option<(ErrorKind, String)> {
    use object_store::Error as Driver;
    matches!(error, Driver::NotImplemented { .. } | Driver::NotSupported { .. }).then(|| {
        let message =
            "the store has no conditional writes, or they are switched off: use another one, or switch them on";
        (ErrorKind::Unsupported, message.to_owned())
    })
}

/// A call without an answer.
fn of_transport(access: Access, kind: Option<HttpErrorKind>, error: &object_store::Error) -> (ErrorKind, String) {
    let reason = causes(error).find_map(|cause| cause.downcast_ref::<HttpError>()).map(innermost);
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    match kind {
        // There was no connection to send it on.
        Some(HttpErrorKind::Connect) => (
            ErrorKind::Unavailable,
            format!("the service cannot be reached: check the endpoint and the network{reason}"),
        ),
        _ => (access.unanswered(), format!("the service did not answer{reason}")),
    }
}

/// The error and its sources.
fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |&error| error.source())
}

/// Returns the text of the last cause, which has the reason and no URL.
fn innermost(error: &HttpError) -> String {
    let error: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(error), |&error| error.source()).last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    use ErrorKind::{Denied, Indeterminate, Invalid, Unavailable, Unsupported};

    fn classifier(service: Service) -> Classifier {
        Classifier { service }
    }

    fn driver(secret: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: secret.to_owned().into() }
    }

    fn kind(failure: Failure) -> Option<ErrorKind> {
        match failure {
            Failure::Conflict | Failure::Missing => None,
            Failure::Failed(error) => {
                assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
                Some(error.kind())
            }
        }
    }

    /// Status, code, and the kinds for a write and for a read; nothing where it is no error.
    #[test]
    fn answers() {
        type Row = (u16, &'static str, Option<ErrorKind>, Option<ErrorKind>);
        let rows: [Row; 24] = [
            (412, "PreconditionFailed", None, Some(Unavailable)),
            (409, "ConditionalRequestConflict", None, Some(Unavailable)),
            (409, "BlobAlreadyExists", None, Some(Unavailable)),
            (412, "LeaseIdMissing", Some(Invalid), Some(Invalid)),
            (409, "ContainerBeingDeleted", Some(Unavailable), Some(Unavailable)),
            (409, "BlobImmutableDueToPolicy", Some(Invalid), Some(Invalid)),
            (404, "NoSuchKey", None, None),
            // A proxy's: a write is looked for, and no read shows that an object is missing.
            (404, "", None, Some(Unavailable)),
            (404, "NoSuchBucket", Some(Invalid), Some(Invalid)),
            (404, "ContainerNotFound", Some(Invalid), Some(Invalid)),
            (401, "", Some(Denied), Some(Denied)),
            (403, "AccessDenied", Some(Denied), Some(Denied)),
            (403, "RequestTimeTooSkewed", Some(Denied), Some(Denied)),
            (400, "ExpiredToken", Some(Denied), Some(Denied)),
            (403, "RetentionPolicyNotMet", Some(Invalid), Some(Invalid)),
            (301, "PermanentRedirect", Some(Invalid), Some(Invalid)),
            (400, "AuthorizationHeaderMalformed", Some(Invalid), Some(Invalid)),
            (400, "", Some(Invalid), Some(Invalid)),
            (429, "", Some(Unavailable), Some(Unavailable)),
            (503, "SlowDown", Some(Unavailable), Some(Unavailable)),
            (503, "", Some(Indeterminate), Some(Unavailable)),
            (500, "InternalError", Some(Indeterminate), Some(Unavailable)),
            (501, "NotImplemented", Some(Unsupported), Some(Unsupported)),
            // Done, but its answer cannot be read.
            (200, "", Some(Indeterminate), Some(Unavailable)),
        ];
        for (status, code, write, read) in rows {
            let code = Some(code.to_owned()).filter(|code| !code.is_empty());
            let observed = Observed { sent: 1, status: Some(status), code, ..Observed::default() };
            for (access, expected) in [(Access::Write, write), (Access::Read, read)] {
                let failure = classifier(Service::Amazon).classify("write", access, &driver("hunter2"), &observed);
                assert_eq!(kind(failure), expected, "{status} {access:?}");
            }
        }
    }

    #[test]
    fn a_call_without_an_answer() {
        for (failure, write) in [
            (Some(HttpErrorKind::Connect), Unavailable),
            (Some(HttpErrorKind::Request), Indeterminate),
            (Some(HttpErrorKind::Timeout), Indeterminate),
            (Some(HttpErrorKind::Interrupted), Indeterminate),
            (None, Indeterminate),
        ] {
            let observed = Observed { sent: 1, failure, ..Observed::default() };
            let classify =
                |access| kind(classifier(Service::Amazon).classify("write", access, &driver("hunter2"), &observed));
            assert_eq!(
                (classify(Access::Write), classify(Access::Read)),
                (Some(write), Some(Unavailable)),
                "{failure:?}"
            );
        }
    }

    /// The application's store repeats requests: the last refusal says nothing of those before it.
    #[test]
    fn s15_a_write_that_was_repeated_may_have_been_executed() {
        for (status, failure) in [(Some(429), None), (Some(403), None), (None, Some(HttpErrorKind::Connect))] {
            for (sent, access, expected) in [
                (1, Access::Write, [Some(Unavailable), Some(Denied)]),
                (2, Access::Write, [Some(Indeterminate), Some(Indeterminate)]),
                (2, Access::Read, [Some(Unavailable), Some(Denied)]),
            ] {
                let observed = Observed { sent, status, failure, ..Observed::default() };
                let found = kind(classifier(Service::Given).classify("write", access, &driver("hunter2"), &observed));
                assert_eq!(found, expected[usize::from(status == Some(403))], "{sent} {access:?} {status:?}");
            }
        }
    }

    /// The same error means more where every request is observed: this one was not sent.
    #[test]
    fn a_call_that_was_not_sent() {
        let refused = driver("Server returned non-2xx status code: 401 Unauthorized: hunter2");
        let throttled = driver("Server returned non-2xx status code: 429 Too Many Requests: hunter2");
        let classify = |service, error: &object_store::Error| {
            kind(classifier(service).classify("write", Access::Write, error, &Observed::default()))
        };
        assert_eq!(classify(Service::Azure, &driver("hunter2")), Some(Unavailable));
        assert_eq!(classify(Service::Azure, &refused), Some(Denied));
        assert_eq!(classify(Service::Azure, &throttled), Some(Unavailable));
        assert_eq!(classify(Service::Given, &driver("hunter2")), Some(Indeterminate));
    }

    #[test]
    fn a_store_that_is_not_observed() {
        use object_store::Error as Driver;
        let of = |error: Driver, access| {
            kind(classifier(Service::Given).classify("write", access, &error, &Observed::default()))
        };
        let [path, source] = ["leases/job".to_owned(), "hunter2".to_owned()];
        let gone = || Driver::NotFound { path: path.clone(), source: source.clone().into() };
        assert_eq!((of(gone(), Access::Read), of(gone(), Access::Write)), (None, None));
        let exists = Driver::AlreadyExists { path: path.clone(), source: source.clone().into() };
        assert_eq!(of(exists, Access::Write), None);
        let denied = Driver::PermissionDenied { path, source: source.into() };
        assert_eq!(of(denied, Access::Write), Some(Denied));
        let missing = Driver::NotImplemented { operation: "put".to_owned(), implementer: "local".to_owned() };
        assert_eq!(of(missing, Access::Write), Some(Unsupported));
        let http = HttpError::new(HttpErrorKind::Connect, std::io::Error::other("refused"));
        let connect = Driver::Generic { store: "S3", source: Box::new(http) };
        assert_eq!(of(connect, Access::Write), Some(Unavailable));
    }
}
