//! The options of a store.

use std::time::Duration;

use lease_core::{ExpiryJudge, Result};

use crate::{error::invalid, names::Names};

/// The name of the operation in errors.
pub(crate) const CONNECT: &str = "connect";

/// The options of a [`KubernetesStore`](crate::KubernetesStore).
///
/// ```no_run
/// # async fn example() -> lease_core::Result<()> {
/// use lease_kubernetes::KubernetesStoreOptions;
///
/// let store = KubernetesStoreOptions::new().with_namespace("team-a").with_object_prefix("billing-").connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubernetesStoreOptions {
    /// The namespace of the Leases, which must exist. By default that of the pod, or of the context of the kubeconfig.
    pub namespace: Option<String>,
    /// What the names of all objects begin with; empty by default, so that a lease has the name of its object, and other programs can
    /// contend for it. At most 63 lower-case letters, digits, `-` and `.`, which together with a name must be a name in Kubernetes.
    pub object_prefix: String,
    /// Who judges expiry. By default the clocks of the API servers do, which are assumed to agree within twice 2 s
    /// ([`ExpiryJudge::ServersWallClocks`]). With a single API server, set a slack of zero: the lease of a crashed holder is then
    /// taken over sooner. [`ExpiryJudge::Contenders`] believes no clock. All processes need the same.
    pub expiry_judge: ExpiryJudge,
    /// The time limit for connecting to the API server, and for checking what the store needs; 5 s by default. It must be greater
    /// than zero.
    pub connect_timeout: Duration,
}

impl Default for KubernetesStoreOptions {
    fn default() -> Self {
        Self {
            namespace: None,
            object_prefix: String::new(),
            expiry_judge: ExpiryJudge::ServersWallClocks { slack: Duration::from_secs(2) },
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl KubernetesStoreOptions {
    /// Creates the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`KubernetesStoreOptions::namespace`].
    #[must_use]
    pub fn with_namespace(self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self }
    }

    /// Sets [`KubernetesStoreOptions::object_prefix`].
    #[must_use]
    pub fn with_object_prefix(self, object_prefix: impl Into<String>) -> Self {
        Self { object_prefix: object_prefix.into(), ..self }
    }

    /// Sets [`KubernetesStoreOptions::expiry_judge`].
    #[must_use]
    pub fn with_expiry_judge(self, expiry_judge: ExpiryJudge) -> Self {
        Self { expiry_judge, ..self }
    }

    /// Sets [`KubernetesStoreOptions::connect_timeout`].
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Checks the options.
    pub(crate) fn check(&self) -> Result<()> {
        self.names()?;
        if let Some(namespace) = &self.namespace {
            check_namespace(namespace)?;
        }
        if self.connect_timeout.is_zero() {
            return Err(invalid(CONNECT, "the connect timeout must be greater than zero"));
        }
        match self.expiry_judge {
            ExpiryJudge::ServersWallClocks { .. } | ExpiryJudge::Contenders => Ok(()),
            _ => Err(invalid(CONNECT, "expiry is judged by `ServersWallClocks` or by `Contenders`")),
        }
    }

    pub(crate) fn names(&self) -> Result<Names> {
        Names::new(self.object_prefix.clone()).ok_or_else(|| {
            let message = "the object prefix must be at most 63 lower-case letters, digits, `-` and `.`, and begin with a letter or digit";
            invalid(CONNECT, message)
        })
    }
}

/// A namespace is a part of the path of each request.
pub(crate) fn check_namespace(namespace: &str) -> Result<()> {
    let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = namespace.as_bytes();
    let is_name = (1..=63).contains(&bytes.len())
        && bytes.first().is_some_and(|byte| is_end(*byte))
        && bytes.last().is_some_and(|byte| is_end(*byte))
        && bytes.iter().all(|byte| is_end(*byte) || *byte == b'-');
    if is_name {
        return Ok(());
    }
    Err(invalid(
        CONNECT,
        "the namespace must be 1 to 63 lower-case letters, digits and `-`, with a letter or digit at both ends",
    ))
}

#[cfg(test)]
mod tests {
    use lease_core::ErrorKind;

    use super::*;

    #[test]
    fn options_that_cannot_be_are_invalid() {
        let plain = KubernetesStoreOptions::new;
        assert!(plain().with_namespace("team-1").with_object_prefix("a.").check().is_ok());
        assert!(plain().with_expiry_judge(ExpiryJudge::Contenders).check().is_ok());
        for options in [
            plain().with_namespace(""),
            plain().with_namespace("../../nodes"),
            plain().with_namespace("Team"),
            plain().with_namespace("-a"),
            plain().with_object_prefix("A"),
            plain().with_connect_timeout(Duration::ZERO),
            plain().with_expiry_judge(ExpiryJudge::Process),
        ] {
            assert_eq!(options.check().unwrap_err().kind(), ErrorKind::Invalid, "{options:?}");
        }
    }
}
