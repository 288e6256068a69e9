//! One request, and its whole answer.

use std::{fmt, time::Duration};

use lease_document::Sample;
use reqwest::{
    Client, Method, StatusCode, Url,
    header::{AGE, CACHE_CONTROL, DATE, HeaderMap, HeaderName, HeaderValue},
};

/// The most bytes of an answer. Records have less than 10 KiB; values of other software below the prefix may have 512 KiB each.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// An agent, and what every request to it carries.
pub(crate) struct Http {
    client: Client,
    base: Url,
    headers: HeaderMap,
    parameters: Vec<(&'static str, String)>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// There is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// There was no connection.
    NotSent(reqwest::Error),
    /// The connection broke, or the time limit has passed.
    Broken(reqwest::Error),
    /// It has more than so many bytes.
    TooLarge(usize),
}

impl Http {
    /// An agent at this URL. The token is printed nowhere.
    pub(crate) fn new(client: Client, base: Url, parameters: Vec<(&'static str, String)>) -> Self {
        // The time of an answer from a cache is not that of the server.
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-cache"))]);
        Self { client, base, headers, parameters }
    }

    pub(crate) fn with_token(mut self, mut token: HeaderValue) -> Self {
        token.set_sensitive(true);
        self.headers.insert(HeaderName::from_static("x-consul-token"), token);
        self
    }

    pub(crate) async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        limit: Option<Duration>,
    ) -> Result<Answer, Unanswered> {
        self.call(Method::GET, path, query, Vec::new(), limit).await
    }

    pub(crate) async fn put(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
        limit: Option<Duration>,
    ) -> Result<Answer, Unanswered> {
        self.call(Method::PUT, path, query, body, limit).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
        limit: Option<Duration>,
    ) -> Result<Answer, Unanswered> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let parameters = self.parameters.iter().map(|(name, value)| (*name, value.as_str()));
        url.query_pairs_mut().extend_pairs(query.iter().copied().chain(parameters));
        let mut request = self.client.request(method, url).headers(self.headers.clone()).body(body);
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
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
}

fn unanswered(error: reqwest::Error) -> Unanswered {
    if error.is_connect() { Unanswered::NotSent(error) } else { Unanswered::Broken(error) }
}

impl Answer {
    /// Returns the time of the server that has made this answer.
    pub(crate) fn clock(&self) -> Option<Sample> {
        Sample::from_http(self.header(&DATE), self.header(&AGE))
    }

    /// Returns the index at which the answer is valid. Every answer about keys has it, and no answer of other software does.
    pub(crate) fn index(&self) -> Option<u64> {
        self.header(&HeaderName::from_static("x-consul-index"))?.parse().ok()
    }

    /// Returns whether something was left out of this answer because the token may not read it. Consul says so since 1.11.
    pub(crate) fn is_filtered(&self) -> bool {
        self.header(&HeaderName::from_static("x-consul-results-filtered-by-acls")) == Some("true")
    }

    /// Returns the beginning of the body, for people.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned();
        text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect::<String>().trim().to_owned()
    }

    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("base", &self.base.as_str()).field("parameters", &self.parameters).finish()
    }
}
