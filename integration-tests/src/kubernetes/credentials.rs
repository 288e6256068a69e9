//! Who may ask a server of this run, and how it shows that it is the server.

use std::{fs, path::PathBuf};

use rcgen::KeyPair;

use crate::{
    ServerError,
    account::Account,
    certificates::{AUTHORITY, SERVER, SERVER_KEY, issue},
    installed::path_in,
    keeper::Keeper,
    pool,
};

/// The file of the certificate of a given server's authority.
const GIVEN_AUTHORITY: &str = "LEASE_TEST_KUBERNETES_AUTHORITY";

/// The token of the user who may do everything.
pub(super) const ADMIN_TOKEN: &str = "token-of-admin";

/// Users who may do nothing until they are given a role.
const USERS: usize = 20;

/// The files, beside those of the certificates.
const TOKENS: &str = "tokens.csv";
const ACCOUNTS_KEY: &str = "service-accounts.key";
const ACCOUNTS_PUBLIC_KEY: &str = "service-accounts.pub";

/// A user of every server of this machine who may do nothing until a role is bound to the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesUser {
    /// The name, for a role binding.
    pub name: String,
    /// The bearer token.
    pub token: String,
}

impl KubernetesUser {
    /// Returns the user with this number, below 20.
    ///
    /// # Panics
    ///
    /// When there are not as many.
    #[must_use]
    pub fn number(number: usize) -> Self {
        assert!(number < USERS, "a server has {USERS} users");
        Self { name: format!("user-{number}"), token: format!("token-of-user-{number}") }
    }
}

/// The file of the certificate of the authority.
pub(super) fn authority() -> Result<PathBuf, ServerError> {
    match path_in(GIVEN_AUTHORITY) {
        Some(given) => Ok(given),
        None => Ok(directory()?.join(AUTHORITY)),
    }
}

/// The settings of a server that name its files. All servers of a run have the same ones.
pub(super) fn settings() -> Result<Vec<String>, ServerError> {
    let directory = directory()?;
    let files = [
        ("tls-cert-file", SERVER),
        ("tls-private-key-file", SERVER_KEY),
        ("token-auth-file", TOKENS),
        ("service-account-signing-key-file", ACCOUNTS_KEY),
        ("service-account-key-file", ACCOUNTS_PUBLIC_KEY),
    ];
    Ok(files.iter().map(|(name, file)| format!("--{name}={}", directory.join(file).display())).collect())
}

fn directory() -> Result<PathBuf, ServerError> {
    pool::directory("kubernetes-credentials", || {
        let keeper = Keeper::new(Account::current(), "TERM")?;
        let directory = keeper.directory();
        issue(directory, &["127.0.0.1", "localhost", "kubernetes.default.svc"])?;
        let accounts = KeyPair::generate().map_err(|error| ServerError::failed("key for service accounts", error))?;
        let admin = format!("{ADMIN_TOKEN},admin,admin,system:masters\n");
        let users = (0..USERS).map(KubernetesUser::number).map(|user| format!("{},{1},{1}\n", user.token, user.name));
        let files = [
            (TOKENS, admin + &users.collect::<String>()),
            (ACCOUNTS_KEY, accounts.serialize_pem()),
            (ACCOUNTS_PUBLIC_KEY, accounts.public_key_pem()),
        ];
        for (name, text) in files {
            fs::write(directory.join(name), text).map_err(|error| ServerError::failed(name, error))?;
        }
        Ok(keeper)
    })
}
