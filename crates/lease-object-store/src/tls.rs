//! The cryptography of TLS.

/// Makes ring the provider of cryptography of this process, unless it has one: the HTTP client has none of its own, and cannot be
/// created without one.
pub(crate) fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been first, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}
