//! What the API server answers in place of an object.

use serde::Deserialize;

/// What the API server answers in place of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    kind: String,
    pub(crate) message: String,
    pub(crate) reason: String,
    pub(crate) code: u16,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    name: String,
    kind: String,
}

impl Status {
    /// Returns the default where the body is none, as in an answer of a proxy.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let status: Self = serde_json::from_slice(body).unwrap_or_default();
        if status.kind == "Status" { status } else { Self::default() }
    }

    /// Whether this is what is said about a missing Lease, and not about a namespace, the API, or a proxy's path.
    pub(crate) fn is_missing_lease(&self, object: &str) -> bool {
        self.reason == "NotFound" && self.details.kind == "leases" && self.details.name == object
    }

    pub(crate) fn is_missing_namespace(&self) -> bool {
        self.reason == "NotFound" && self.details.kind == "namespaces"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_lease_is_not_a_missing_namespace_or_a_wrong_address() {
        let status = |kind: &str, name: &str| {
            let body = format!(
                r#"{{"kind":"Status","message":"not there","reason":"NotFound","details":{{"kind":"{kind}","name":"{name}"}},"code":404}}"#
            );
            Status::parse(body.as_bytes())
        };
        assert!(status("leases", "job").is_missing_lease("job"));
        assert!(!status("leases", "other").is_missing_lease("job"));
        assert!(!status("namespaces", "job").is_missing_lease("job"));
        assert!(!Status::parse(b"<html>404 Not Found</html>").is_missing_lease("job"));
        assert!(
            !Status::parse(br#"{"reason":"NotFound","details":{"kind":"leases","name":"job"}}"#)
                .is_missing_lease("job")
        );
        assert!(status("namespaces", "team").is_missing_namespace());
    }
}
