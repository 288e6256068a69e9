//! One request, and its whole answer.

use std::{fmt, time::Duration};

use lease_document::http::{Answer, Unanswered};
use reqwest::{
    Client, Method, Url,
    header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue},
};

/// An agent, and what every request to it carries.
pub(crate) struct Http {
    client: Client,
    base: Url,
    headers: HeaderMap,
    parameters: Vec<(&'static str, String)>,
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
        Answer::to(request).await
    }
}

/// Returns the index at which the answer is valid. Every answer about keys has it, and no answer of other software does.
pub(crate) fn index(answer: &Answer) -> Option<u64> {
    answer.header("x-consul-index")?.parse().ok()
}

/// Returns whether something was left out of this answer because the token may not read it. Consul says so since 1.11.
pub(crate) fn is_filtered(answer: &Answer) -> bool {
    answer.header("x-consul-results-filtered-by-acls") == Some("true")
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("base", &self.base.as_str()).field("parameters", &self.parameters).finish()
    }
}
