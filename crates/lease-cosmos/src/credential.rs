//! Who asks: the key of the account, or tokens of Entra ID.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use lease_core::{ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;

use crate::error::store_error;

/// What stays as it is in the value of the header.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

type Token = Pin<Box<dyn Future<Output = Result<String>> + Send>>;

/// The proof of who asks. It prints nothing secret.
#[derive(Clone)]
pub(crate) enum Credential {
    /// A key of the account, which signs each request.
    Key(hmac::Key),
    /// A function that returns a token.
    Tokens(Arc<dyn Fn() -> Token + Send + Sync>),
}

impl Credential {
    /// Parses a key of the account, as the portal shows it.
    pub(crate) fn key(key: &str) -> Result<Self> {
        match STANDARD.decode(key.trim()) {
            Ok(bytes) if !bytes.is_empty() => Ok(Self::Key(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            // Without the source, which quotes a part of the key.
            _ => {
                let message = "the key of the account is no base64: copy the whole primary or secondary key";
                Err(store_error(ErrorKind::Invalid, "connect", message))
            }
        }
    }

    pub(crate) fn tokens<F, T>(provider: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String>> + Send + 'static,
    {
        Self::Tokens(Arc::new(move || Box::pin(provider())))
    }

    /// Returns the header of a request for this resource at this date.
    pub(crate) async fn authorization(&self, method: &str, kind: &str, link: &str, date: &str) -> Result<String> {
        let plain = match self {
            Self::Key(key) => {
                let (method, date) = (method.to_lowercase(), date.to_lowercase());
                let signature = hmac::sign(key, format!("{method}\n{kind}\n{link}\n{date}\n\n").as_bytes());
                format!("type=master&ver=1.0&sig={}", STANDARD.encode(signature))
            }
            Self::Tokens(provider) => format!("type=aad&ver=1.0&sig={}", provider().await?),
        };
        Ok(utf8_percent_encode(&plain, ENCODED).to_string())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key",
            Self::Tokens(_) => "Tokens",
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    /// The example in the documentation of the service.
    #[test]
    fn a_signature_is_that_of_the_documentation() {
        let key = "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw==";
        let credential = Credential::key(key).unwrap();
        let date = "Thu, 27 Apr 2017 00:51:12 GMT";
        let header = block_on(credential.authorization("GET", "dbs", "dbs/ToDoList", date)).unwrap();
        assert_eq!(header, "type%3Dmaster%26ver%3D1.0%26sig%3Dc09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu%2Bc%2Bc%3D");
    }

    #[test]
    fn a_token_is_asked_for_and_nothing_secret_is_printed() {
        let credential = Credential::tokens(async || Ok("hunter2".to_owned()));
        let header = block_on(credential.authorization("GET", "docs", "", "")).unwrap();
        assert_eq!(header, "type%3Daad%26ver%3D1.0%26sig%3Dhunter2");
        assert_eq!(format!("{credential:?}"), "Tokens");
        for bad in ["", "hunter2!", "hunter"] {
            let error = Credential::key(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(bad.is_empty() || !format!("{error} {error:?}").contains(bad), "{error:?}");
        }
    }
}
