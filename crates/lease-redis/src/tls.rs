//! TLS with certificates that the application provides.

use std::sync::Arc;

use fred::{prelude::Config, types::config::TlsConnector};
use lease_core::{ErrorKind, Result};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::error::redis_error;

/// Certificates in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    pub(crate) authority: Option<Vec<u8>>,
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Certificates {
    /// Sets the TLS of a configuration. Without certificates nothing changes: the system's authorities are trusted.
    pub(crate) fn apply_to(&self, config: &mut Config) -> Result<()> {
        // Without the library's messages: they may quote a key.
        let invalid = |message: &'static str| redis_error(ErrorKind::Invalid, "connect", message);
        let authority = match (&self.authority, &self.client) {
            (None, None) => return Ok(()),
            _ if config.tls.is_none() => {
                return Err(invalid("certificates are set, but the URL is redis:// (without TLS): use rediss://"));
            }
            (None, Some(_)) => {
                return Err(invalid(
                    "a client certificate needs a certificate of an authority: call with_ca_certificate",
                ));
            }
            (Some(authority), _) => authority,
        };
        let mut trusted = RootCertStore::empty();
        for certificate in
            certificates(authority).ok_or_else(|| invalid("the certificate of the authority is not PEM"))?
        {
            trusted.add(certificate).map_err(|_| invalid("the certificate of the authority cannot be used"))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| invalid("TLS is not available"))?
            .with_root_certificates(trusted);
        let client = match &self.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificates =
                    certificates(certificate).ok_or_else(|| invalid("the certificate of the client is not PEM"))?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| invalid("the private key of the client is not PEM"))?;
                builder
                    .with_client_auth_cert(certificates, key)
                    .map_err(|_| invalid("the private key of the client does not belong to its certificate"))?
            }
        };
        config.tls = Some(TlsConnector::from(client).into());
        Ok(())
    }
}

/// Parses at least one certificate.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<_, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}
