//! The HTTP client of a store that is given none.

use std::{fmt, sync::Arc, time::Duration};

use lease_core::{Error, ErrorKind, Result};
use reqwest::{Client, redirect, retry};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;

/// The certificates of a client, as PEM.
#[derive(Clone, Copy, Default)]
pub struct Tls<'a> {
    /// The authorities that are trusted, in place of those of the system.
    pub ca_certificate: Option<&'a [u8]>,
    /// The certificate that the client shows, with its chain, and its key.
    pub client_certificate: Option<(&'a [u8], &'a [u8])>,
}

impl fmt::Debug for Tls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("has_ca_certificate", &self.ca_certificate.is_some())
            .field("has_client_certificate", &self.client_certificate.is_some())
            .finish()
    }
}

/// Creates a client that does what it is told, once: it follows no redirection, repeats nothing, and asks no proxy. It speaks
/// HTTP/1.1, so that a request which was given up ends its connection (S24). The authorities of the system are read only if it
/// `is_secure`.
///
/// # Errors
///
/// `Invalid`: a certificate or the key cannot be used, or the authorities of the system cannot be read. No error quotes the key.
pub fn client(connect_timeout: Duration, is_secure: bool, tls: Tls<'_>) -> Result<Client> {
    let builder = Client::builder()
        .http1_only()
        .connect_timeout(connect_timeout)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .tls_backend_preconfigured(config(is_secure, tls)?);
    builder.build().map_err(|error| invalid("the HTTP client cannot be created").with_source(error))
}

/// TLS by ring, whatever the rest of the process uses.
fn config(is_secure: bool, tls: Tls<'_>) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS cannot be set up").with_source(error))?;
    let builder = if is_secure && tls.ca_certificate.is_none() {
        builder
            .with_platform_verifier()
            .map_err(|error| invalid("the certificate authorities of the system cannot be read").with_source(error))?
    } else {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(tls.ca_certificate.unwrap_or_default()) {
            let added = certificate.map(|certificate| roots.add(certificate).is_ok());
            if !added.unwrap_or(false) {
                return Err(invalid("the certificate authority is no certificate in PEM"));
            }
        }
        if tls.ca_certificate.is_some() && roots.is_empty() {
            return Err(invalid("the certificate authority has no certificate in PEM"));
        }
        builder.with_root_certificates(roots)
    };
    let Some((certificates, key)) = tls.client_certificate else { return Ok(builder.with_no_client_auth()) };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .map_err(|_| invalid("the client certificate is not in PEM"))?;
    // Without the source, which might quote the key.
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| invalid("the key of the client certificate is not in PEM"))?;
    builder
        .with_client_auth_cert(certificates, key)
        .map_err(|_| invalid("the client certificate and its key do not belong together"))
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, "connect", message)
}
