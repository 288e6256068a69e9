//! The options of a store.

use std::{fmt, time::Duration};

use lease_core::{ErrorKind, ExpiryJudge, Result};
use zookeeper_client::{Acl, AuthId, Client, Permission};

use crate::{ZooKeeperStore, error::store_error, open::open, session::Origin};

/// The options of a [`ZooKeeperStore`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use lease_zookeeper::ZooKeeperStoreOptions;
///
/// let store = ZooKeeperStoreOptions::new()
///     .with_chroot("/services/billing/leases")
///     .with_digest("billing", std::env::var("ZOOKEEPER_PASSWORD")?)
///     .connect("zk-1:2181,zk-2:2181,zk-3:2181")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ZooKeeperStoreOptions {
    /// The node above all leases; `/app-runtime-leases` by default. It is created if it does not exist, but the nodes above it are
    /// not. Two stores with different chroots share nothing.
    pub chroot: String,
    /// The session timeout to ask the servers for; 6 s by default. They may grant another one. No lease depends on the session:
    /// the timeout only says when a silent connection is given up, which is after two fifths of it.
    pub session_timeout: Duration,
    /// The time limit for beginning a session; 5 s by default.
    pub connect_timeout: Duration,
    /// Who judges expiry; `ServersWallClocks` with a slack of 2 s by default. All processes need the same.
    ///
    /// * [`ExpiryJudge::ServersWallClocks`]: the wall clock of the leader. Another leader may have another clock: the clocks of all
    ///   servers are assumed to agree within twice the slack, and leases are taken over later by twice the slack.
    /// * [`ExpiryJudge::ServerWallClock`]: the same without slack, for a single server.
    /// * [`ExpiryJudge::Contenders`]: no clock of a server is believed.
    pub expiry_judge: ExpiryJudge,
    /// The ACL of the nodes that the store creates. By default (`None`), whoever has the same credentials has all rights, and
    /// without credentials everybody has. All processes that share leases need the rights `cdrw`.
    pub acls: Option<Vec<Acl>>,
    digest: Option<(String, String)>,
    #[cfg(feature = "sasl")]
    sasl: Option<zookeeper_client::SaslOptions>,
}

impl Default for ZooKeeperStoreOptions {
    fn default() -> Self {
        Self {
            chroot: "/app-runtime-leases".to_owned(),
            session_timeout: Duration::from_secs(6),
            connect_timeout: Duration::from_secs(5),
            expiry_judge: ExpiryJudge::ServersWallClocks { slack: Duration::from_secs(2) },
            acls: None,
            digest: None,
            #[cfg(feature = "sasl")]
            sasl: None,
        }
    }
}

impl ZooKeeperStoreOptions {
    /// Creates the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`ZooKeeperStoreOptions::chroot`].
    #[must_use]
    pub fn with_chroot(self, chroot: impl Into<String>) -> Self {
        Self { chroot: chroot.into(), ..self }
    }

    /// Sets [`ZooKeeperStoreOptions::session_timeout`].
    #[must_use]
    pub fn with_session_timeout(self, session_timeout: Duration) -> Self {
        Self { session_timeout, ..self }
    }

    /// Sets [`ZooKeeperStoreOptions::connect_timeout`].
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Sets [`ZooKeeperStoreOptions::expiry_judge`].
    #[must_use]
    pub fn with_expiry_judge(self, expiry_judge: ExpiryJudge) -> Self {
        Self { expiry_judge, ..self }
    }

    /// Sets [`ZooKeeperStoreOptions::acls`].
    #[must_use]
    pub fn with_acls(self, acls: impl Into<Vec<Acl>>) -> Self {
        Self { acls: Some(acls.into()), ..self }
    }

    /// Sets the user and the password of the scheme `digest`. They are sent in clear: see [TLS](crate#tls).
    #[must_use]
    pub fn with_digest(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { digest: Some((user.into(), password.into())), ..self }
    }

    /// Sets the credentials for SASL, such as `SaslOptions::digest_md5(user, password)` of the driver.
    #[cfg(feature = "sasl")]
    #[must_use]
    pub fn with_sasl(self, sasl: impl Into<zookeeper_client::SaslOptions>) -> Self {
        Self { sasl: Some(sasl.into()), ..self }
    }

    /// Connects to the servers with these addresses, `host:port` separated by commas, and creates the chroot if it is missing.
    ///
    /// The driver runs on the runtime of this call. After its end, the next call begins a new session on its own runtime.
    ///
    /// # Errors
    ///
    /// * `Invalid`: an option or an address is bad, the node above the chroot does not exist, or the servers do not accept the ACL.
    /// * `Denied`: the credentials are wrong, or do not suffice.
    /// * `Unavailable`: no server has begun a session in time.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the session ends. The chroot may have been created.
    pub async fn connect(&self, addresses: &str) -> Result<ZooKeeperStore> {
        self.check()?;
        check_addresses(addresses)?;
        let origin = self.origin(addresses);
        let client = origin.connect().await?;
        self.open(client, Some(origin)).await
    }

    /// Opens a store on a client of the application. Its chroot, if it has one, is above [`chroot`](Self::chroot). Timeouts and
    /// credentials are those of the client.
    ///
    /// When the session of the client ends for good, every call of the store fails as `Unavailable`: open another store with a new
    /// client. A store that [connects](Self::connect) by itself begins a new session by itself.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. The chroot may have been created.
    pub async fn with_client(&self, client: Client) -> Result<ZooKeeperStore> {
        self.check()?;
        self.open(client, None).await
    }

    async fn open(&self, client: Client, origin: Option<Origin>) -> Result<ZooKeeperStore> {
        open(client, origin, &self.chroot, self.created_with(), self.expiry_judge).await
    }

    fn origin(&self, addresses: &str) -> Origin {
        let mut connector = Client::connector().with_session_timeout(self.session_timeout);
        if let Some((user, password)) = &self.digest {
            connector = connector.with_auth("digest", format!("{user}:{password}").as_bytes());
        }
        #[cfg(feature = "sasl")]
        if let Some(sasl) = &self.sasl {
            connector = connector.with_sasl(sasl.clone());
        }
        Origin { connector, addresses: addresses.to_owned(), timeout: self.connect_timeout }
    }

    fn has_credentials(&self) -> bool {
        #[cfg(feature = "sasl")]
        if self.sasl.is_some() {
            return true;
        }
        self.digest.is_some()
    }

    fn created_with(&self) -> Vec<Acl> {
        self.acls.clone().unwrap_or_else(|| {
            let id = if self.has_credentials() { AuthId::authed() } else { AuthId::anyone() };
            vec![Acl::new(Permission::ALL, id)]
        })
    }

    fn check(&self) -> Result<()> {
        let message = if !is_path(&self.chroot) {
            "the chroot must be an absolute path such as /services/leases, without empty parts, and not / itself"
        } else if self.session_timeout.is_zero() {
            "the session timeout must be greater than zero"
        } else if self.connect_timeout.is_zero() {
            "the connect timeout must be greater than zero"
        } else if self.acls.as_ref().is_some_and(Vec::is_empty) {
            "the ACL must not be empty: nobody could use the nodes"
        } else if self.digest.as_ref().is_some_and(|(user, _)| user.is_empty() || user.contains(':')) {
            "the user must not be empty, and must not contain a colon"
        } else if !matches!(
            self.expiry_judge,
            ExpiryJudge::ServerWallClock | ExpiryJudge::ServersWallClocks { .. } | ExpiryJudge::Contenders
        ) {
            "expiry is judged by the servers' wall clocks or by the contenders: ZooKeeper has no other clock"
        } else {
            return Ok(());
        };
        Err(store_error(ErrorKind::Invalid, "connect", message))
    }
}

/// The addresses are not repeated in the error: they may contain a password.
fn check_addresses(addresses: &str) -> Result<()> {
    let is_bad =
        |address: &str| address.is_empty() || address.contains(['@', '/']) || address.contains(char::is_whitespace);
    if addresses.split(',').any(is_bad) {
        let message = "write the addresses as host:port,host:port; the chroot and the credentials are options";
        return Err(store_error(ErrorKind::Invalid, "connect", message));
    }
    Ok(())
}

fn is_path(path: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    path.strip_prefix('/').is_some_and(|parts| parts.split('/').all(is_part))
}

impl fmt::Debug for ZooKeeperStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Prints no password. ACLs of the scheme `digest` have hashes of passwords.
        f.debug_struct("ZooKeeperStoreOptions")
            .field("chroot", &self.chroot)
            .field("session_timeout", &self.session_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("expiry_judge", &self.expiry_judge)
            .field("has_acls", &self.acls.is_some())
            .field("user", &self.digest.as_ref().map(|(user, _)| user))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_printed() {
        let options = ZooKeeperStoreOptions::new().with_digest("app", "hunter2");
        let printed = format!("{options:?} {:?}", options.origin("zk:2181"));
        assert!(printed.contains("app") && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn a_chroot_is_a_path() {
        for good in ["/leases", "/services/billing-1/leases"] {
            assert!(is_path(good), "{good}");
        }
        for bad in ["", "/", "leases", "/leases/", "//leases", "/a/../b", "/a\u{0}"] {
            assert!(!is_path(bad), "{bad}");
        }
    }
}
