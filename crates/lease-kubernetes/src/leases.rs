//! Requests for the Leases of a namespace.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::{Client, client::Body};
use lease_core::Result;
use lease_document::Sample;

use crate::{
    error::{Context, Verb, answered, unanswered, unreadable},
    status::Status,
};

/// The most bytes of an answer: those of a page of the largest Leases.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// Who wrote a field, for `kubectl get --show-managed-fields`.
const MANAGER: &str = "fieldManager=lease-kubernetes";

/// The Leases of a namespace.
#[derive(Clone)]
pub(crate) struct Leases {
    client: Client,
    pub(crate) namespace: String,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) verb: Verb,
    /// The name of the object; empty for all.
    pub(crate) object: String,
    pub(crate) query: String,
    pub(crate) body: Vec<u8>,
}

/// An answer, of any status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) clock: Option<Sample>,
    retry_after: Option<String>,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(operation: &'static str, verb: Verb) -> Self {
        Self { operation, verb, object: String::new(), query: String::new(), body: Vec::new() }
    }

    pub(crate) fn object(self, object: impl Into<String>) -> Self {
        Self { object: object.into(), ..self }
    }

    /// Adds to the query, which must be encoded.
    pub(crate) fn query(self, query: &str) -> Self {
        let query = if self.query.is_empty() { query.to_owned() } else { format!("{}&{query}", self.query) };
        Self { query, ..self }
    }

    pub(crate) fn body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    fn request(&self, namespace: &str) -> Result<Request<Body>, http::Error> {
        let Self { object, query, .. } = self;
        let mut uri = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        if !object.is_empty() {
            uri = format!("{uri}/{object}");
        }
        let (method, content) = match self.verb {
            Verb::Get | Verb::List | Verb::Watch => (Method::GET, None),
            Verb::Create => (Method::POST, Some("application/json")),
            // Only this kind of patch compares the version and refuses an object that is not there. PUT would make it anew.
            Verb::Patch => (Method::PATCH, Some("application/merge-patch+json")),
            Verb::Delete => (Method::DELETE, Some("application/json")),
        };
        let manager = if matches!(self.verb, Verb::Create | Verb::Patch) { MANAGER } else { "" };
        let separator = if query.is_empty() || manager.is_empty() { "" } else { "&" };
        if !(query.is_empty() && manager.is_empty()) {
            uri = format!("{uri}?{query}{separator}{manager}");
        }
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::ACCEPT, "application/json")
            // The date of an answer must be that of the server, now.
            .header(header::CACHE_CONTROL, "no-cache");
        if let Some(content) = content {
            request = request.header(header::CONTENT_TYPE, content);
        }
        request.body(Body::from(self.body.clone()))
    }
}

impl Leases {
    pub(crate) fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    pub(crate) fn context(&self, operation: &'static str, verb: Verb) -> Context<'_> {
        Context { operation, verb, namespace: &self.namespace }
    }

    /// Sends a request, and returns the whole answer.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer> {
        let context = self.context(call.operation, call.verb);
        let (parts, body) = self.send(call).await?.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER);
        let body = body.collect().await.map_err(|error| unreadable(context, error.as_ref()))?.to_bytes();
        let text = |name| header_text(&parts.headers, name);
        let clock = Sample::from_http(text(header::DATE), text(header::AGE));
        let retry_after = text(header::RETRY_AFTER).map(str::to_owned);
        Ok(Answer { code: parts.status, clock, retry_after, body })
    }

    /// Sends a request, and returns when the head of the answer has come.
    pub(crate) async fn send(&self, call: &Call) -> Result<http::Response<Body>> {
        let context = self.context(call.operation, call.verb);
        let request =
            call.request(&self.namespace).map_err(|error| unanswered(context, kube::Error::HttpError(error)))?;
        self.client.send(request).await.map_err(|error| unanswered(context, error))
    }

    /// Returns the error of an answer that is not the expected one.
    pub(crate) fn failed(&self, call: &Call, answer: &Answer) -> lease_core::Error {
        let context = self.context(call.operation, call.verb);
        answered(context, answer.code.as_u16(), answer.retry_after.as_deref(), &answer.status())
    }

    /// Reads the body of an answer as JSON.
    pub(crate) fn read<'a, T: serde::Deserialize<'a>>(&self, call: &Call, answer: &'a Answer) -> Result<T> {
        let context = self.context(call.operation, call.verb);
        serde_json::from_slice(&answer.body).map_err(|error| unreadable(context, &error))
    }
}

impl Answer {
    pub(crate) fn status(&self) -> Status {
        Status::parse(&self.body)
    }
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
