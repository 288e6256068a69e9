//! What the answers of the services mean.

use std::fmt;

/// An answer that is no success: its status, and the service's word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    status: u16,
    code: &'a str,
}

/// What it means, in all services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The condition does not hold.
    Conflict,
    NoObject,
    NoContainer,
    /// The container is being deleted or created.
    Busy,
    Denied,
    /// Credentials or signatures of another time.
    Expired,
    Region,
    /// A policy, a hold or another lease protects the object.
    Protected,
    /// Refused, because there are too many requests.
    Throttled,
    /// A header of the request is not implemented.
    Unsupported,
    /// Perhaps executed.
    Unknown,
    Unexpected,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(status: u16, code: Option<&'a str>) -> Self {
        Self { status, code: code.unwrap_or_default() }
    }

    /// Returns whether the answer has a word, without which something else than the service may have made it.
    pub(crate) fn has_code(self) -> bool {
        !self.code.is_empty()
    }

    pub(crate) fn meaning(self) -> Meaning {
        match (self.status, self.code) {
            (404, "NoSuchBucket" | "ContainerNotFound") => Meaning::NoContainer,
            (404, _) => Meaning::NoObject,
            (_, "ContainerBeingDeleted" | "ContainerBeingDisabled" | "AccountBeingCreated") => Meaning::Busy,
            (_, "BlobImmutableDueToPolicy" | "RetentionPolicyNotMet" | "ObjectUnderActiveHold") => Meaning::Protected,
            // Azure's own leases, which another program uses.
            (409 | 412, code) if code.starts_with("Lease") => Meaning::Protected,
            (409 | 412, _) => Meaning::Conflict,
            (_, "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken" | "RequestTimeTooSkewed") => Meaning::Expired,
            (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" | "IncorrectEndpoint")
            | (300..=399, _) => Meaning::Region,
            (401 | 403, _) => Meaning::Denied,
            (429, _) | (_, "SlowDown" | "ServerBusy" | "TooManyRequests") => Meaning::Throttled,
            (501, _) => Meaning::Unsupported,
            // The service has waited for the rest of the request.
            (408, _) | (_, "RequestTimeout") => Meaning::Unknown,
            (200..=299 | 500.., _) => Meaning::Unknown,
            _ => Meaning::Unexpected,
        }
    }
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            "" => write!(f, "{}", self.status),
            code => write!(f, "{} {code}", self.status),
        }
    }
}
