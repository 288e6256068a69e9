//! Documents in Lease objects.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use http::StatusCode;
use lease_core::{Capabilities, ExpiryJudge, LeaseName, Result, TokensSurvive};
use lease_document::{About, Changes, Document, Documents, Looked, Page, Put, Version};
use serde::Deserialize;
use serde_json::json;

use crate::{
    STORE,
    error::{Verb, another_object, invalid, no_number, unreadable},
    leases::{Answer, Call, Leases},
    names::Names,
    object::{Object, selector, with_record},
    watch::Watch,
};

/// A holder must renew twice before client-go's peers, who count in whole seconds, may take over.
const MIN_TTL: Duration = Duration::from_secs(2);
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The objects of a page of the API server.
const PAGE: usize = 500;
/// A list keeps at least so many leases: the API server has another order than names, so that each list reads all objects.
const KEPT: usize = 1_000;

/// The objects of a store.
pub(crate) struct Objects {
    leases: Leases,
    names: Names,
    expiry_judge: ExpiryJudge,
    watch: Watch,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMetadata,
    #[serde(default = "Vec::new")]
    items: Vec<Object>,
}

#[derive(Deserialize)]
struct ListMetadata {
    #[serde(default)]
    r#continue: String,
}

impl Objects {
    pub(crate) fn new(leases: Leases, names: Names, expiry_judge: ExpiryJudge) -> Self {
        let watch = Watch::new(leases.clone(), names.clone());
        Self { leases, names, expiry_judge, watch }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.leases.namespace
    }

    pub(crate) fn object_name(&self, name: &LeaseName) -> String {
        self.names.object(name)
    }

    /// Returns the version that a write of this record has made.
    fn written(&self, call: &Call, answer: &Answer, object_name: &str, value: &[u8]) -> Result<Put> {
        // The write was done: without its version the outcome is unknown.
        let object: Object = self.leases.read(call, answer)?;
        if !object.has(object_name, value) {
            return Err(another_object(self.leases.context(call.operation, call.verb)));
        }
        let version =
            object.version().map_err(|error| unreadable(self.leases.context(call.operation, call.verb), &error))?;
        Ok(Put::written(version).with_clock(answer.clock))
    }

    fn document(&self, operation: &'static str, object: &Object) -> Result<Document> {
        object.document().map_err(|error| no_number(operation, &error))
    }
}

#[async_trait]
impl Documents for Objects {
    fn about(&self) -> About {
        let capabilities = Capabilities::new(STORE)
            .with_ttl(MIN_TTL, MAX_TTL, Duration::from_micros(1))
            .with_expiry_judge(self.expiry_judge)
            .with_tokens_survive(TokensSurvive::new().restart().removal())
            .with_grants_survive_crash(true)
            .with_push(true)
            .with_push_to_holders(true)
            .with_calls_at_once(4);
        About::new(capabilities).with_tokens_from_versions(true)
    }

    async fn get(&self, name: &LeaseName) -> Result<Looked> {
        let call = Call::new("read", Verb::Get).object(self.names.object(name));
        let answer = self.leases.call(&call).await?;
        let document = match answer.code {
            StatusCode::OK => {
                let object: Object = self.leases.read(&call, &answer)?;
                if !object.is_named(&call.object) {
                    return Err(another_object(self.leases.context(call.operation, call.verb)));
                }
                Some(self.document(call.operation, &object)?)
            }
            StatusCode::NOT_FOUND if answer.status().is_missing_lease(&call.object) => None,
            _ => return Err(self.leases.failed(&call, &answer)),
        };
        Ok(Looked::new(document).with_clock(answer.clock))
    }

    async fn put_if(&self, name: &LeaseName, value: Vec<u8>, expected: Option<&Version>) -> Result<Put> {
        let verb = if expected.is_some() { Verb::Patch } else { Verb::Create };
        let object = self.names.object(name);
        let body = with_record(&self.names, name, &value, expected, wall_clock());
        let body =
            body.ok_or_else(|| invalid("write", format!("the record of lease {name} is not one of this version")))?;
        let mut call = Call::new("write", verb).body(body);
        if verb == Verb::Patch {
            call = call.object(object.as_str());
        }
        let answer = self.leases.call(&call).await?;
        match answer.code {
            StatusCode::OK | StatusCode::CREATED => self.written(&call, &answer, &object, &value),
            StatusCode::CONFLICT => Ok(Put::conflict().with_clock(answer.clock)),
            // It was deleted.
            StatusCode::NOT_FOUND if answer.status().is_missing_lease(&call.object) => {
                Ok(Put::conflict().with_clock(answer.clock))
            }
            _ => Err(self.leases.failed(&call, &answer)),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Page> {
        let selected = format!("{}&limit={PAGE}", selector(&self.names));
        let (mut kept, mut has_more, mut clock) = (BTreeMap::new(), false, None);
        let mut token = String::new();
        loop {
            let mut call = Call::new("list", Verb::List).query(&selected);
            if !token.is_empty() {
                call = call.query(&format!("continue={}", encoded(&token)));
            }
            let answer = self.leases.call(&call).await?;
            if answer.code != StatusCode::OK {
                return Err(self.leases.failed(&call, &answer));
            }
            // All pages are of the moment of the first one.
            clock = clock.or(answer.clock);
            let list: List = self.leases.read(&call, &answer)?;
            for object in list.items {
                let Some(name) = object.lease(&self.names) else { continue };
                if name.as_str().starts_with(prefix) && after.is_none_or(|after| name > *after) {
                    kept.insert(name, self.document(call.operation, &object)?);
                }
                if kept.len() > limit.max(KEPT) {
                    kept.pop_last();
                    has_more = true;
                }
            }
            token = list.metadata.r#continue;
            if token.is_empty() {
                return Ok(Page::new(kept.into_iter().collect()).with_more(has_more).with_clock(clock));
            }
        }
    }

    async fn delete_if(&self, name: &LeaseName, expected: &Version) -> Result<bool> {
        let resource_version = expected.tag.split(' ').next();
        let body = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "resourceVersion": resource_version } });
        let call = Call::new("purge", Verb::Delete).object(self.names.object(name)).body(body.to_string().into_bytes());
        let answer = self.leases.call(&call).await?;
        match answer.code {
            StatusCode::OK | StatusCode::ACCEPTED => Ok(true),
            StatusCode::CONFLICT => Ok(false),
            StatusCode::NOT_FOUND if answer.status().is_missing_lease(&call.object) => Ok(false),
            _ => Err(self.leases.failed(&call, &answer)),
        }
    }

    fn changes(&self) -> Changes {
        self.watch.changes()
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("namespace", &self.leases.namespace)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// A token of the API server, which is base64 for URLs, as part of a query.
fn encoded(token: &str) -> String {
    token.replace('%', "%25").replace('+', "%2B").replace('=', "%3D").replace('&', "%26")
}

/// Returns the wall-clock time, which is shown to people and other programs. No decision of this library depends on it (S3).
#[expect(clippy::disallowed_methods, reason = "the wall-clock time is wanted, and nothing is measured with it")]
fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
