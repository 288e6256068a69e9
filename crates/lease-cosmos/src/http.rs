//! One request, and its whole answer.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use lease_core::{ErrorKind, Result};
use lease_document::Sample;
use reqwest::{
    Client, Method, StatusCode, Url,
    header::{AGE, AUTHORIZATION, CACHE_CONTROL, DATE, HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    credential::Credential,
    error::{Access, Unanswered, of_network, store_error},
    session::Session,
};

/// The most bytes of an answer: more than a page of a query may have.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
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

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
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
            store_error(ErrorKind::Invalid, operation, "the token has characters that no header can have")
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
        let answer = receive(request).await.map_err(|error| of_network(operation, access, error))?;
        if let Some(token) = answer.header("x-ms-session-token") {
            self.session.learn(token);
        }
        Ok(answer)
    }
}

async fn receive(request: reqwest::RequestBuilder) -> Result<Answer, Unanswered> {
    let unanswered = |error: reqwest::Error| {
        if error.is_connect() { Unanswered::NotSent(error) } else { Unanswered::Broken(error) }
    };
    let mut response = request.send().await.map_err(unanswered)?;
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Unanswered::TooLarge(MAX_ANSWER));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}

/// Returns the date, which the service wants to be right within fifteen minutes.
#[expect(clippy::disallowed_methods, reason = "a part of the signature, by which nothing is measured or judged")]
fn now() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

impl Answer {
    /// Returns the time of the server that has made this answer.
    pub(crate) fn clock(&self) -> Option<Sample> {
        Sample::from_http(self.header(DATE.as_str()), self.header(AGE.as_str()))
    }

    /// Returns whether the service has made this answer, and not something on the way to it (S19).
    pub(crate) fn is_genuine(&self) -> bool {
        self.header("x-ms-activity-id").is_some()
    }

    /// Returns the reason beyond the status; 0 if there is none.
    pub(crate) fn substatus(&self) -> u32 {
        self.header("x-ms-substatus").and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(HeaderName::from_bytes(name.as_bytes()).ok()?)?.to_str().ok()
    }

    /// Returns the beginning of the body, for people.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned();
        text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect::<String>().trim().to_owned()
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("base", &self.base.as_str()).field("credential", &self.credential).finish()
    }
}
