//! Certificates for servers with TLS.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use crate::{ServerError, account::Account};

/// The files.
pub(crate) const AUTHORITY: &str = "ca.pem";
pub(crate) const SERVER: &str = "server.pem";
pub(crate) const SERVER_KEY: &str = "server.key";

/// A certificate authority with a certificate for a server and one for a client, in files that are deleted when this value
/// is dropped.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
    authority: String,
    client: (String, String),
}

impl Certificates {
    /// Creates the certificates: for a server with any of these names or addresses, and for the client `app`.
    ///
    /// # Errors
    ///
    /// When a name is invalid, or the temporary directory cannot be written.
    pub fn make(server_names: &[&str]) -> Result<Self, ServerError> {
        let directory = std::env::temp_dir().join(format!("lease-tls-{:016x}", rand::random::<u64>()));
        fs::create_dir(&directory).map_err(|error| ServerError::failed("cannot store certificates", error))?;
        let (authority, client) = issue(&directory, server_names)?;
        Ok(Self { directory, authority, client })
    }
    /// Returns the certificate of the authority, as PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the certificate of the client and its key, as PEM.
    #[must_use]
    pub fn client(&self) -> (&str, &str) {
        (&self.client.0, &self.client.1)
    }

    /// Returns the path of the certificate of the authority.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        self.directory.join(AUTHORITY)
    }

    /// Returns the path of the certificate of the server.
    #[must_use]
    pub fn server_file(&self) -> PathBuf {
        self.directory.join(SERVER)
    }

    /// Returns the path of the key of the server.
    #[must_use]
    pub fn server_key_file(&self) -> PathBuf {
        self.directory.join(SERVER_KEY)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Writes the files of an authority and a server with any of these names into a directory. Returns the certificate of the authority,
/// and the certificate and key of the client `app`, as PEM.
pub(crate) fn issue(directory: &Path, server_names: &[&str]) -> Result<(String, (String, String)), ServerError> {
    let failed = |error: rcgen::Error| ServerError::failed("cannot create certificates", error);
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate for self-signed if its subject equals its issuer.
    params.distinguished_name.push(DnType::CommonName, "lease tests authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(failed)?).map_err(failed)?;
    let sign = |names: &[&str]| {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok((params.signed_by(&key, &authority)?.pem(), key.serialize_pem()))
    };
    let (server, server_key) = sign(server_names).map_err(failed)?;
    let client = sign(&["app"]).map_err(failed)?;
    write(directory, &authority.pem(), &server, &server_key)
        .map_err(|error| ServerError::failed("cannot store certificates", error))?;
    Ok((authority.pem(), client))
}

fn write(directory: &Path, authority: &str, server: &str, server_key: &str) -> std::io::Result<()> {
    fs::write(directory.join(AUTHORITY), authority)?;
    fs::write(directory.join(SERVER), server)?;
    let key_file = directory.join(SERVER_KEY);
    fs::write(&key_file, server_key)?;
    // PostgreSQL requires that only its own account can read the key, and does not run as root.
    fs::set_permissions(&key_file, Permissions::from_mode(0o600))?;
    match Account::but_not_root("postgres").ids() {
        Some((user, group)) => chown(&key_file, Some(user), Some(group)),
        None => Ok(()),
    }
}
