//! One request, and its whole answer.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use lease_core::{ErrorKind, Result};
use lease_document::http::Answer;
use reqwest::{
    Client, Method, Url,
    header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue},
};

use crate::{
    credential::Credential,
    error::{Access, of_network, store_error},
    session::Session,
};

const VERSION: &str = "2018-12-31";

/// An account, and what every request to it carries.
pub(crate) struct Http {
    pub(crate) client: Client,
    pub(crate) base: Url,
    pub(crate) credential: Credential,
    pub(crate) session: Session,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// `docs`, `colls`, or nothing for the account.
    pub(crate) kind: &'static str,
    /// The resource that is signed.
    pub(crate) link: &'a str,
    /// The resource that is asked for, if it is not the one that is signed.
    pub(crate) inside: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) limit: Option<Duration>,
}

impl<'a> Call<'a> {
    pub(crate) fn get(kind: &'static str, link: &'a str) -> Self {
        Self { method: Method::GET, kind, link, inside: "", headers: Vec::new(), body: Vec::new(), limit: None }
    }
}

impl Http {
    pub(crate) async fn call(&self, operation: &'static str, access: Access, call: Call<'_>) -> Result<Answer> {
        let Call { method, kind, link, inside, headers, body, limit } = call;
        let date = now();
        let authorization = self.credential.authorization(method.as_str(), kind, link, &date).await?;
        let mut url = self.base.clone();
        url.set_path(&format!("{link}{inside}"));
        let authorization = HeaderValue::from_str(&authorization).map(|mut value| {
            value.set_sensitive(true);
            value
        });
        // Without the source, which has the token.
        let authorization = authorization.map_err(|_| {
            let message = "the token has characters that no header can have, such as a line break at its end: set it without them";
            store_error(ErrorKind::Invalid, operation, message)
        })?;
        let mut request = self
            .client
            .request(method, url)
            .header(AUTHORIZATION, authorization)
            .header("x-ms-date", date)
            .header("x-ms-version", VERSION)
            // The time of an answer from a cache is not that of the service.
            .header(CACHE_CONTROL, "no-cache")
            .body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if kind == "docs"
            && let Some(session) = self.session.header()
        {
            request = request.header("x-ms-session-token", session);
        }
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        let answer = Answer::to(request).await.map_err(|error| of_network(operation, access, error))?;
        if let Some(token) = answer.header("x-ms-session-token") {
            self.session.learn(token);
        }
        Ok(answer)
    }
}

/// Returns the date, which the service wants to be right within fifteen minutes.
#[expect(clippy::disallowed_methods, reason = "a part of the signature, by which nothing is measured or judged")]
fn now() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("base", &self.base.as_str()).field("credential", &self.credential).finish()
    }
}
