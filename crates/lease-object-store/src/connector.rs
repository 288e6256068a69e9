//! The HTTP connector, which observes answers.

use async_trait::async_trait;
use lease_document::Sample;
use object_store::{
    ClientOptions, HeaderValue,
    client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector},
};

use crate::{call::Call, tls};

/// The longest word for an error that is kept.
const LONGEST_CODE: usize = 64;

/// An HTTP connector for the stores of [`object_store`], which lets a lease store see when answers were made and what they refuse.
///
/// [`ObjectLeaseStore::connect`](crate::ObjectLeaseStore::connect) uses it by itself. Give it to the builder of a store of your own,
/// for [`ObjectLeaseStore::with_store`](crate::ObjectLeaseStore::with_store): without it the service's clock is unknown, and
/// contenders judge expiry.
///
/// ```
/// # fn example() -> object_store::Result<()> {
/// use lease_object_store::{Connector, object_store};
/// use object_store::{RetryConfig, aws::AmazonS3Builder};
///
/// let store = AmazonS3Builder::from_env()
///     .with_bucket_name("my-bucket")
///     .with_http_connector(Connector::default())
///     // The lease client repeats by itself, and knows until when that makes sense.
///     .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Connector(Box<dyn HttpConnector>);

impl Connector {
    /// Observes the answers to requests that another connector sends.
    #[must_use]
    pub fn new(connector: impl HttpConnector) -> Self {
        Self(Box::new(connector))
    }
}

/// Uses the default HTTP client of [`object_store`].
impl Default for Connector {
    fn default() -> Self {
        Self::new(ReqwestConnector::default())
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        tls::install_provider();
        Ok(HttpClient::new(Observer(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct Observer(HttpClient);

#[async_trait]
impl HttpService for Observer {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // A request for credentials is none of ours.
        let Some(call) = request.extensions().get::<Call>().cloned() else { return self.0.execute(request).await };
        if request.method().as_str() == "GET" {
            // No signature covers this header. In a write it would become a property of the object.
            request.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
        }
        call.begin();
        match self.0.execute(request).await {
            Ok(answer) => observe(&call, answer).await,
            Err(error) => {
                call.lock().failure = Some(error.kind());
                Err(error)
            }
        }
    }
}

async fn observe(call: &Call, answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    {
        let mut observed = call.lock();
        observed.status = Some(answer.status().as_u16());
        observed.clock = Sample::from_http(header("date"), header("age"));
    }
    if answer.status().is_success() {
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let body = body.bytes().await?;
    call.lock().code = code(&body);
    Ok(HttpResponse::from_parts(parts, body.into()))
}

/// Returns the service's word for an error, from a body in XML. The rest of the body may repeat what was signed, and is not kept.
fn code(body: &[u8]) -> Option<String> {
    let text = str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word =
        !code.is_empty() && code.len() <= LONGEST_CODE && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use object_store::client::HttpErrorKind;

    use super::*;

    /// Answers with these headers and this body, and notes the headers of requests.
    #[derive(Debug, Clone, Default)]
    struct Service {
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
        body: &'static str,
        asked: Arc<Mutex<Vec<Option<HeaderValue>>>>,
    }

    #[async_trait]
    impl HttpService for Service {
        async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
            self.asked.lock().unwrap().push(request.headers().get("cache-control").cloned());
            if self.status == 0 {
                return Err(HttpError::new(HttpErrorKind::Connect, std::io::Error::other("nobody listens")));
            }
            let mut answer = HttpResponse::new(self.body.to_owned().into());
            *answer.status_mut() = self.status.try_into().unwrap();
            for (name, value) in &self.headers {
                answer.headers_mut().insert(*name, HeaderValue::from_static(value));
            }
            Ok(answer)
        }
    }

    /// Returns what was observed of a request, and what the service was asked.
    fn observed(service: Service, method: &str, is_ours: bool) -> (crate::call::Observed, Option<HeaderValue>) {
        let observer = Observer(HttpClient::new(service.clone()));
        let (call, mut request) = (Call::default(), HttpRequest::new(Vec::new().into()));
        *request.method_mut() = method.parse().unwrap();
        if is_ours {
            *request.extensions_mut() = call.extensions();
        }
        if let Ok(answer) = futures::executor::block_on(observer.call(request)) {
            let body = futures::executor::block_on(answer.into_body().bytes()).unwrap();
            assert_eq!(body, service.body, "the driver reads the body, too");
        }
        let asked = service.asked.lock().unwrap().remove(0);
        (call.observed(), asked)
    }

    const DATE: (&str, &str) = ("date", "Sun, 29 Nov 2026 16:13:54 GMT");

    #[test]
    fn s03_an_answer_shows_the_clock_and_one_of_a_cache_does_not() {
        let answer = |headers| Service { status: 200, headers, ..Service::default() };
        let (seen, asked) = observed(answer(vec![DATE]), "GET", true);
        assert!(seen.sent == 1 && seen.status == Some(200) && seen.clock.is_some(), "{seen:?}");
        assert_eq!(asked.unwrap(), "no-cache");
        let (seen, _) = observed(answer(vec![DATE, ("age", "1")]), "GET", true);
        assert_eq!(seen.clock, None);
        // The header would become a property of the object.
        let (seen, asked) = observed(answer(vec![DATE]), "PUT", true);
        assert!(seen.clock.is_some() && asked.is_none());
    }

    #[test]
    fn an_error_shows_the_clock_and_its_word() {
        let body = "<Error><Code>NoSuchKey</Code></Error>";
        let (seen, _) = observed(Service { status: 404, headers: vec![DATE], body, ..Service::default() }, "GET", true);
        assert_eq!((seen.status, seen.code.as_deref(), seen.clock.is_some()), (Some(404), Some("NoSuchKey"), true));
        let (seen, _) = observed(Service::default(), "PUT", true);
        assert_eq!((seen.sent, seen.status, seen.failure), (1, None, Some(HttpErrorKind::Connect)));
    }

    /// The clock of the issuer of credentials is another one.
    #[test]
    fn a_request_for_credentials_shows_nothing() {
        let (seen, asked) = observed(Service { status: 200, headers: vec![DATE], ..Service::default() }, "GET", false);
        assert!(seen.sent == 0 && seen.clock.is_none() && asked.is_none());
    }

    #[test]
    fn a_code_is_one_word_of_the_body() {
        let body = b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><StringToSign>secret</StringToSign></Error>";
        assert_eq!(code(body).as_deref(), Some("NoSuchKey"));
        for none in ["", "<Code></Code>", "<Code>No", "<Code>a secret</Code>", "{\"code\": 404}"] {
            assert_eq!(code(none.as_bytes()), None, "{none}");
        }
    }
}
