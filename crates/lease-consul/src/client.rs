//! The HTTP client of a store that brings none of its own.

use std::sync::Arc;

use lease_core::{ErrorKind, Result};
use reqwest::{Client, redirect, retry};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::{ConsulStoreOptions, error::store_error};

/// Creates a client that does what it is told, once: it follows no redirection, repeats nothing, and asks no proxy. It speaks
/// HTTP/1.1, so that a request which was given up ends its connection (S24).
pub(crate) fn client(options: &ConsulStoreOptions, is_secure: bool) -> Result<Client> {
    let builder = Client::builder()
        .http1_only()
        .connect_timeout(options.connect_timeout)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .tls_backend_preconfigured(tls(options, is_secure)?);
    builder.build().map_err(|error| {
        store_error(ErrorKind::Invalid, "connect", "the HTTP client cannot be created").with_source(error)
    })
}

/// TLS by ring, whatever the rest of the process uses.
fn tls(options: &ConsulStoreOptions, is_secure: bool) -> Result<ClientConfig> {
    let invalid = |message: &'static str| store_error(ErrorKind::Invalid, "connect", message);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS cannot be set up").with_source(error))?;
    let builder = if is_secure && options.ca_certificate.is_none() {
        builder
            .with_platform_verifier()
            .map_err(|error| invalid("the certificate authorities of the system cannot be read").with_source(error))?
    } else {
        let mut roots = RootCertStore::empty();
        let pem = options.ca_certificate.as_deref().unwrap_or_default();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let added = certificate.map(|certificate| roots.add(certificate).is_ok());
            if !added.unwrap_or(false) {
                return Err(invalid("the certificate authority is no certificate in PEM"));
            }
        }
        if options.ca_certificate.is_some() && roots.is_empty() {
            return Err(invalid("the certificate authority has no certificate in PEM"));
        }
        builder.with_root_certificates(roots)
    };
    let Some((certificates, key)) = &options.client_certificate else { return Ok(builder.with_no_client_auth()) };
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
