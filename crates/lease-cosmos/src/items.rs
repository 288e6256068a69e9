//! The requests about items. Each write has a condition.

use lease_core::{ErrorKind, Result};
use lease_document::{Document, Sample, Version, http::Answer};
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, IF_MATCH},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    answer::{is_genuine, substatus},
    error::{Access, of_answer, store_error, wrong_answer},
    http::{Call, Http},
};

const PARTITION: &str = "x-ms-documentdb-partitionkey";

/// The items of a container.
#[derive(Debug)]
pub(crate) struct Items {
    pub(crate) http: Http,
    /// `dbs/…/colls/…`.
    pub(crate) container: String,
}

/// What this store writes into an item, beside its id.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// The number of the write, greater than those before it: a read may be older than one before.
    n: u64,
    value: String,
}

/// An item as it was read.
#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: String,
    #[serde(rename = "_etag")]
    etag: String,
    n: Option<u64>,
    value: Option<String>,
}

impl Item {
    /// Returns the document. What another program has written is a document that is no record.
    pub(crate) fn document(self) -> Document {
        let version = Version::new(self.etag);
        let version = self.n.map_or(version.clone(), |number| version.with_number(number));
        Document::new(self.value.unwrap_or_default().into_bytes(), version)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Queried {
    documents: Vec<Item>,
}

/// A page of a query. The service ends a page when it likes.
#[derive(Debug)]
pub(crate) struct QueryPage {
    pub(crate) items: Vec<Item>,
    pub(crate) continuation: Option<String>,
    pub(crate) clock: Option<Sample>,
}

impl Items {
    /// Reads the item of this id.
    pub(crate) async fn read(&self, id: &str) -> Result<(Option<Document>, Option<Sample>)> {
        let (operation, access) = ("read", Access::Read);
        let link = self.link(id);
        let call = Call { headers: vec![partition(id)], ..Call::get("docs", &link) };
        let answer = self.http.call(operation, access, call).await?;
        match answer.status {
            StatusCode::OK => {
                let item: Item = serde_json::from_slice(&answer.body).map_err(|_| wrong_answer(operation, access))?;
                if item.id != id {
                    return Err(wrong_answer(operation, access));
                }
                Ok((Some(item.document()), answer.clock()))
            }
            StatusCode::NOT_FOUND if is_absence(&answer) => Ok((None, answer.clock())),
            _ => Err(of_answer(operation, access, &answer)),
        }
    }

    /// Creates the item of this id, if there is none. Returns its version, or `None` if there is one.
    pub(crate) async fn create(
        &self,
        id: &str,
        value: Vec<u8>,
        number: u64,
    ) -> Result<(Option<Version>, Option<Sample>)> {
        let call = Call {
            method: Method::POST,
            inside: "/docs",
            headers: vec![partition(id), json_content()],
            body: body(id, value, number)?,
            ..Call::get("docs", &self.container)
        };
        self.written(id, number, StatusCode::CONFLICT, call).await
    }

    /// Replaces the item of this id, if it has this version. Returns the new one, or `None` if it has another one, or is not there.
    pub(crate) async fn replace(
        &self,
        id: &str,
        value: Vec<u8>,
        number: u64,
        expected: &Version,
    ) -> Result<(Option<Version>, Option<Sample>)> {
        let link = self.link(id);
        let call = Call {
            method: Method::PUT,
            headers: vec![partition(id), json_content(), (IF_MATCH.as_str(), expected.tag.clone())],
            body: body(id, value, number)?,
            ..Call::get("docs", &link)
        };
        self.written(id, number, StatusCode::PRECONDITION_FAILED, call).await
    }

    async fn written(
        &self,
        id: &str,
        number: u64,
        conflict: StatusCode,
        call: Call<'_>,
    ) -> Result<(Option<Version>, Option<Sample>)> {
        let (operation, access) = ("write", Access::Write);
        let answer = self.http.call(operation, access, call).await?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => {
                let item: Item = serde_json::from_slice(&answer.body).map_err(|_| wrong_answer(operation, access))?;
                if item.id != id || item.n != Some(number) {
                    return Err(wrong_answer(operation, access));
                }
                Ok((Some(Version::new(item.etag).with_number(number)), answer.clock()))
            }
            status if status == conflict && is_genuine(&answer) => Ok((None, answer.clock())),
            StatusCode::NOT_FOUND if conflict == StatusCode::PRECONDITION_FAILED && is_absence(&answer) => {
                Ok((None, answer.clock()))
            }
            _ => Err(of_answer(operation, access, &answer)),
        }
    }

    /// Deletes the item of this id, if it has this version. Returns whether it did.
    pub(crate) async fn delete(&self, id: &str, expected: &Version) -> Result<bool> {
        let (operation, access) = ("purge", Access::Write);
        let link = self.link(id);
        let headers = vec![partition(id), (IF_MATCH.as_str(), expected.tag.clone())];
        let call = Call { method: Method::DELETE, headers, ..Call::get("docs", &link) };
        let answer = self.http.call(operation, access, call).await?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(true),
            StatusCode::PRECONDITION_FAILED if is_genuine(&answer) => Ok(false),
            StatusCode::NOT_FOUND if is_absence(&answer) => Ok(false),
            _ => Err(of_answer(operation, access, &answer)),
        }
    }

    /// Reads a page of the items whose ids begin with `prefix` and come after `after`, in no order.
    pub(crate) async fn query(&self, prefix: &str, after: &str, continuation: Option<String>) -> Result<QueryPage> {
        let (operation, access) = ("list", Access::Read);
        let query = json!({
            "query": "SELECT * FROM c WHERE STARTSWITH(c.id, @prefix) AND c.id > @after",
            "parameters": [{"name": "@prefix", "value": prefix}, {"name": "@after", "value": after}],
        });
        let mut headers = vec![
            ("x-ms-documentdb-isquery", "True".to_owned()),
            ("x-ms-documentdb-query-enablecrosspartition", "True".to_owned()),
            ("x-ms-max-item-count", "1000".to_owned()),
            (CONTENT_TYPE.as_str(), "application/query+json".to_owned()),
        ];
        headers.extend(continuation.map(|token| ("x-ms-continuation", token)));
        let (method, body) = (Method::POST, query.to_string().into_bytes());
        let call = Call { method, inside: "/docs", headers, body, ..Call::get("docs", &self.container) };
        let answer = self.http.call(operation, access, call).await?;
        if answer.status != StatusCode::OK {
            return Err(of_answer(operation, access, &answer));
        }
        let queried: Queried = serde_json::from_slice(&answer.body).map_err(|_| wrong_answer(operation, access))?;
        let continuation = answer.header("x-ms-continuation").filter(|token| !token.is_empty()).map(str::to_owned);
        Ok(QueryPage { items: queried.documents, continuation, clock: answer.clock() })
    }

    fn link(&self, id: &str) -> String {
        format!("{}/docs/{id}", self.container)
    }
}

/// Returns whether the service says that the item is not there, and not that it cannot know, or that the container is not there.
fn is_absence(answer: &Answer) -> bool {
    is_genuine(answer) && substatus(answer) == 0
}

fn partition(id: &str) -> (&'static str, String) {
    (PARTITION, json!([id]).to_string())
}

fn json_content() -> (&'static str, String) {
    (CONTENT_TYPE.as_str(), "application/json".to_owned())
}

fn body(id: &str, value: Vec<u8>, n: u64) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct New<'a> {
        id: &'a str,
        #[serde(flatten)]
        content: Content,
    }
    let error = |error: &dyn std::fmt::Display| {
        store_error(ErrorKind::Internal, "write", format!("a record cannot be written as JSON: {error}"))
    };
    let value = String::from_utf8(value).map_err(|it| error(&it))?;
    serde_json::to_vec(&New { id, content: Content { n, value } }).map_err(|it| error(&it))
}
