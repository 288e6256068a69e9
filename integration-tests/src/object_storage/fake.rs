//! A server that speaks what a client of leases needs of S3, Google Cloud Storage (its XML form) and Azure Blob Storage.
//!
//! The three share buckets and objects. A request is of Azure when it has an `x-ms-version`: its path begins with an account. All
//! conditions are checked, and the object written, under one mutex. Signatures are not checked, only who signs.

use std::{
    convert::Infallible,
    fmt::Write as _,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header::HeaderMap,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use lease_core::{Clock, SystemClock};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use url::form_urlencoded;

use super::objects::{Object, Objects};

/// Who may ask: the access key of S3.
pub(super) const ACCESS_KEY: &str = "lease-tests";

/// The path of requests to the fake itself.
const CONTROL: &str = "/-/";

#[derive(Debug)]
struct State {
    objects: Objects,
    faults: Faults,
    /// Requests for buckets and objects.
    requests: u64,
}

#[derive(Debug, Default)]
struct Faults {
    ignore_conditions: bool,
    versioning: bool,
    clock_shift_micros: i64,
    /// The status of the next requests, and how many.
    failing: Option<(StatusCode, u64)>,
    /// How many requests are carried out, and their connections closed in place of an answer.
    losing: u64,
    /// How long the next answers take, and how many.
    slow: Option<(Duration, u64)>,
}

/// Serves on this port, with the journal in this directory, until the process ends.
///
/// # Errors
///
/// When the port is taken, or the journal cannot be written.
pub async fn serve_object_storage(port: u16, directory: &Path) -> io::Result<Infallible> {
    let objects = Objects::open(&directory.join("journal"))?;
    let state = Arc::new(Mutex::new(State { objects, faults: Faults::default(), requests: 0 }));
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            // An error is a connection that ends: the client's, or a lost answer.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let content = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let query: Vec<(String, String)> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let query = Query(query);
    let (mut response, lost, slow) = {
        let mut state = lock(&state);
        if let Some(action) = parts.uri.path().strip_prefix(CONTROL) {
            (state.control(action, &query), false, None)
        } else {
            state.requests += 1;
            let slow = count_down(&mut state.faults.slow);
            let response = match count_down(&mut state.faults.failing) {
                Some(status) => error(status, "Injected"),
                None => state.serve(&parts.method, parts.uri.path(), &query, &parts.headers, &content)?,
            };
            let lost = state.faults.losing > 0;
            state.faults.losing = state.faults.losing.saturating_sub(1);
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_micros(state.now_micros()));
            (with(response, "date", &date), lost, slow)
        }
    };
    if let Some(delay) = slow {
        SystemClock.sleep_until(SystemClock.now() + delay).await;
    }
    if lost {
        return Err(io::Error::other("an answer that is to be lost"));
    }
    if parts.method == Method::HEAD {
        let length = response.body().size_hint().exact().unwrap_or_default();
        response.headers_mut().insert("content-length", length.into());
        *response.body_mut() = Full::default();
    }
    Ok(response)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is injected, once less.
fn count_down<T: Copy>(fault: &mut Option<(T, u64)>) -> Option<T> {
    let (value, left) = fault.as_mut()?;
    let value = *value;
    *left = left.saturating_sub(1);
    if *left == 0 {
        *fault = None;
    }
    Some(value)
}

struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }
}

impl State {
    fn control(&mut self, action: &str, query: &Query) -> Response<Full<Bytes>> {
        let faults = &mut self.faults;
        let count = query.number("count").unwrap_or(1);
        let fault = |count| (count > 0).then_some(count);
        match action {
            "id" => return respond(StatusCode::OK, std::process::id().to_string()),
            "requests" => return respond(StatusCode::OK, self.requests.to_string()),
            "ignore-conditions" => faults.ignore_conditions = query.number("on").unwrap_or(true),
            "versioning" => faults.versioning = query.number("on").unwrap_or(true),
            "shift-clock" => faults.clock_shift_micros = query.number("micros").unwrap_or(0),
            "fail" => {
                let status = query.number("status").and_then(|status| StatusCode::from_u16(status).ok());
                faults.failing = Some(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE)).zip(fault(count));
            }
            "lose-answers" => faults.losing = count,
            "slow-answers" => {
                faults.slow = Some(Duration::from_millis(query.number("millis").unwrap_or(0))).zip(fault(count));
            }
            _ => return respond(StatusCode::NOT_FOUND, "no such action".to_owned()),
        }
        respond(StatusCode::OK, "ok".to_owned())
    }

    #[allow(clippy::disallowed_methods, reason = "a server's wall clock is what it shows, and what its tests shift")]
    fn now_micros(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_micros()).unwrap_or(u64::MAX).saturating_add_signed(self.faults.clock_shift_micros)
    }

    fn serve(
        &mut self,
        method: &Method,
        path: &str,
        query: &Query,
        headers: &HeaderMap,
        content: &[u8],
    ) -> io::Result<Response<Full<Bytes>>> {
        let is_azure = headers.contains_key("x-ms-version");
        let authorization = header(headers, "authorization").unwrap_or_default();
        if authorization.starts_with("AWS4-") && !authorization.contains(&format!("Credential={ACCESS_KEY}/")) {
            return Ok(error(StatusCode::FORBIDDEN, "InvalidAccessKeyId"));
        }
        let (bucket, key) = split(path, if is_azure { 2 } else { 1 });
        if key.is_empty() && *method == Method::PUT {
            self.objects.create_bucket(&bucket)?;
            return Ok(respond(if is_azure { StatusCode::CREATED } else { StatusCode::OK }, String::new()));
        }
        let Some(objects) = self.objects.bucket(&bucket) else {
            return Ok(error(StatusCode::NOT_FOUND, if is_azure { "ContainerNotFound" } else { "NoSuchBucket" }));
        };
        if key.is_empty() {
            return Ok(match *method {
                Method::GET if is_azure => list_azure(objects, query),
                Method::GET => list(objects, query),
                Method::POST if query.get("delete").is_some() => self.delete_many(&bucket, content)?,
                Method::HEAD => respond(StatusCode::OK, String::new()),
                _ => error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            });
        }
        let now = objects.get(&key);
        let refused = if self.faults.ignore_conditions { None } else { refusal(method, headers, now, is_azure) };
        if let Some(refused) = refused {
            return Ok(refused);
        }
        match *method {
            Method::GET | Method::HEAD => Ok(match now {
                None => error(StatusCode::NOT_FOUND, if is_azure { "BlobNotFound" } else { "NoSuchKey" }),
                Some(object) if header(headers, "if-none-match") == Some(&object.etag) => {
                    self.describe(respond(StatusCode::NOT_MODIFIED, String::new()), object)
                }
                Some(object) => self.describe(respond(StatusCode::OK, object.content.clone()), object),
            }),
            Method::PUT => {
                let micros = self.now_micros();
                self.objects.put(&bucket, &key, content, micros)?;
                let status = if is_azure { StatusCode::CREATED } else { StatusCode::OK };
                let object = self.objects.bucket(&bucket).and_then(|objects| objects.get(&key));
                Ok(object.map_or_else(
                    || error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
                    |object| self.describe(respond(status, String::new()), object),
                ))
            }
            Method::DELETE if now.is_none() => {
                let is_amazon = !is_azure && !authorization.starts_with("Bearer ");
                let status = if is_amazon { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND };
                Ok(if is_amazon { respond(status, String::new()) } else { error(status, "NoSuchKey") })
            }
            Method::DELETE => {
                self.objects.delete(&bucket, &key)?;
                Ok(respond(if is_azure { StatusCode::ACCEPTED } else { StatusCode::NO_CONTENT }, String::new()))
            }
            _ => Ok(error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")),
        }
    }

    /// Adds what all three say of an object. No client minds what another one's server would say.
    fn describe(&self, response: Response<Full<Bytes>>, object: &Object) -> Response<Full<Bytes>> {
        let written = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_micros(object.written_micros));
        let generation = object.generation.to_string();
        let response = with(with(response, "etag", &object.etag), "last-modified", &written);
        let response = with(response, "x-goog-generation", &generation);
        if self.faults.versioning { with(response, "x-amz-version-id", &generation) } else { response }
    }

    fn delete_many(&mut self, bucket: &str, content: &[u8]) -> io::Result<Response<Full<Bytes>>> {
        let text = String::from_utf8_lossy(content);
        for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
            let key = key.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
            self.objects.delete(bucket, &key.replace("&amp;", "&"))?;
        }
        Ok(respond(StatusCode::OK, "<DeleteResult></DeleteResult>".to_owned()))
    }
}

/// The answer to a write whose condition does not hold.
fn refusal(
    method: &Method,
    headers: &HeaderMap,
    now: Option<&Object>,
    is_azure: bool,
) -> Option<Response<Full<Bytes>>> {
    if !matches!(*method, Method::PUT | Method::DELETE) {
        return None;
    }
    if let Some(wanted) = header(headers, "x-goog-if-generation-match") {
        let generation = now.map_or(0, |object| object.generation);
        return (wanted != generation.to_string())
            .then(|| error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"));
    }
    if header(headers, "if-none-match") == Some("*") && now.is_some() {
        return Some(match is_azure {
            true => error(StatusCode::CONFLICT, "BlobAlreadyExists"),
            false => error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
        });
    }
    let wanted = header(headers, "if-match")?;
    match now {
        Some(object) if wanted == object.etag || wanted == "*" => None,
        None if !is_azure => Some(error(StatusCode::NOT_FOUND, "NoSuchKey")),
        _ if is_azure => Some(error(StatusCode::PRECONDITION_FAILED, "ConditionNotMet")),
        _ => Some(error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed")),
    }
}

/// A page of a list: what is in it, and the key after which the next one begins, if there is one.
struct Page<'a> {
    objects: Vec<(&'a str, &'a Object)>,
    prefixes: Vec<String>,
    next: Option<&'a str>,
}

impl<'a> Page<'a> {
    fn of(
        objects: &'a std::collections::BTreeMap<String, Object>,
        query: &Query,
        after: Option<&str>,
        limit: usize,
    ) -> Self {
        let (prefix, delimiter) = (query.get("prefix").unwrap_or_default(), query.get("delimiter").unwrap_or_default());
        let mut page = Self { objects: Vec::new(), prefixes: Vec::new(), next: None };
        let mut last = None;
        for (key, object) in objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            if after.is_some_and(|after| key.as_str() <= after) {
                continue;
            }
            let rest = &key[prefix.len()..];
            let common =
                rest.find(delimiter).filter(|_| !delimiter.is_empty()).map(|end| &rest[..end + delimiter.len()]);
            let common = common.map(|common| format!("{prefix}{common}"));
            if common.as_ref().is_some_and(|common| page.prefixes.last() == Some(common)) {
                last = Some(key.as_str());
                continue;
            }
            if page.objects.len() + page.prefixes.len() == limit {
                page.next = last;
                break;
            }
            match common {
                Some(common) => page.prefixes.push(common),
                None => page.objects.push((key, object)),
            }
            last = Some(key.as_str());
        }
        page
    }
}

fn list(objects: &std::collections::BTreeMap<String, Object>, query: &Query) -> Response<Full<Bytes>> {
    let after = query.get("continuation-token").or_else(|| query.get("start-after"));
    let page = Page::of(objects, query, after, query.number("max-keys").unwrap_or(1000));
    let mut xml = "<?xml version=\"1.0\"?><ListBucketResult>".to_owned();
    for (key, object) in page.objects {
        let (key, etag, size) = (escape(key), escape(&object.etag), object.content.len());
        let written = iso_8601(object.written_micros);
        let _ = write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>{written}</LastModified><ETag>{etag}</ETag><Size>{size}</Size></Contents>"
        );
    }
    for prefix in page.prefixes {
        let _ = write!(xml, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escape(&prefix));
    }
    let _ = write!(xml, "<IsTruncated>{}</IsTruncated>", page.next.is_some());
    if let Some(next) = page.next {
        let _ = write!(xml, "<NextContinuationToken>{}</NextContinuationToken>", escape(next));
    }
    respond(StatusCode::OK, xml + "</ListBucketResult>")
}

fn list_azure(objects: &std::collections::BTreeMap<String, Object>, query: &Query) -> Response<Full<Bytes>> {
    let page = Page::of(objects, query, query.get("marker"), query.number("maxresults").unwrap_or(5000));
    let mut xml = "<?xml version=\"1.0\"?><EnumerationResults><Blobs>".to_owned();
    for (key, object) in page.objects {
        let (key, etag, size) = (escape(key), escape(&object.etag), object.content.len());
        let written = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_micros(object.written_micros));
        let _ = write!(
            xml,
            "<Blob><Name>{key}</Name><Properties><Last-Modified>{written}</Last-Modified><Etag>{etag}</Etag>\
             <Content-Length>{size}</Content-Length><Content-Type>application/octet-stream</Content-Type></Properties></Blob>"
        );
    }
    for prefix in page.prefixes {
        let _ = write!(xml, "<BlobPrefix><Name>{}</Name></BlobPrefix>", escape(&prefix));
    }
    let _ = write!(xml, "</Blobs><NextMarker>{}</NextMarker>", escape(page.next.unwrap_or_default()));
    respond(StatusCode::OK, xml + "</EnumerationResults>")
}

/// Bucket and key of a path whose bucket has this many segments.
fn split(path: &str, segments: usize) -> (String, String) {
    let path = path.trim_start_matches('/');
    let end = path.match_indices('/').nth(segments - 1).map_or(path.len(), |(at, _)| at);
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (decode(&path[..end]), decode(path.get(end + 1..).unwrap_or_default()))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn respond(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn error(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let response = respond(status, format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>"));
    with(response, "x-ms-error-code", code)
}

fn with(mut response: Response<Full<Bytes>>, name: &'static str, value: &str) -> Response<Full<Bytes>> {
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `2026-01-02T03:04:05.678Z`.
fn iso_8601(micros: u64) -> String {
    let (days, of_day) = (micros / 86_400_000_000, micros % 86_400_000_000);
    // The calendar of 400 years, from March on.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (seconds, millis) = (of_day / 1_000_000, of_day / 1000 % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_people_write_it() {
        assert_eq!(iso_8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_8601(1_709_210_096_789_000), "2024-02-29T12:34:56.789Z");
        assert_eq!(iso_8601(1_767_225_599_999_999), "2025-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_path_has_a_bucket_and_a_key() {
        assert_eq!(split("/b/a%2Fb%20c/d", 1), ("b".to_owned(), "a/b c/d".to_owned()));
        assert_eq!(split("/account/container/x", 2), ("account/container".to_owned(), "x".to_owned()));
        assert_eq!(split("/b", 1), ("b".to_owned(), String::new()));
    }
}
