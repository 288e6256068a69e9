//! What Consul sends and takes.

use base64::{Engine, engine::general_purpose::STANDARD};
use lease_document::{Document, Version};
use serde::{Deserialize, Serialize};

/// A key with its value.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Pair {
    pub(crate) key: String,
    value: Option<String>,
    /// The index of the last write, in the log of the whole datacenter.
    pub(crate) modify_index: u64,
}

impl Pair {
    /// Returns the value, or `None` if it is no base64.
    pub(crate) fn value(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.value.as_deref().unwrap_or_default()).ok()
    }

    /// Returns the document, or `None` if its value is no base64.
    pub(crate) fn document(&self) -> Option<Document> {
        Some(Document::new(self.value()?, version(self.modify_index)))
    }
}

pub(crate) fn version(index: u64) -> Version {
    Version::new(index.to_string()).with_number(index)
}

/// One operation of a transaction.
#[derive(Debug, Serialize)]
pub(crate) struct Operation<'a> {
    #[serde(rename = "KV")]
    pub(crate) kv: KeyOperation<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct KeyOperation<'a> {
    verb: &'static str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<&'a str>,
}

impl<'a> KeyOperation<'a> {
    /// Writes the key if it has this index; 0 if it is not there.
    pub(crate) fn write(key: &'a str, value: &[u8], index: u64) -> Self {
        Self { value: Some(STANDARD.encode(value)), index: Some(index), ..Self::new("cas", key) }
    }

    /// Deletes the key if it has this index, or if it is not there.
    pub(crate) fn delete(key: &'a str, index: u64) -> Self {
        Self { index: Some(index), ..Self::new("delete-cas", key) }
    }

    /// Reads the key.
    pub(crate) fn read(key: &'a str) -> Self {
        Self::new("get", key)
    }

    /// The same in this namespace and this partition.
    pub(crate) fn within(self, namespace: Option<&'a str>, partition: Option<&'a str>) -> Self {
        Self { namespace, partition, ..self }
    }

    fn new(verb: &'static str, key: &'a str) -> Self {
        Self { verb, key, value: None, index: None, namespace: None, partition: None }
    }
}

/// The answer to a transaction that was done.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Done {
    #[serde(default)]
    pub(crate) results: Option<Vec<Outcome>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    #[serde(rename = "KV")]
    pub(crate) kv: Pair,
}

/// The answer to a transaction that was refused.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Refused {
    pub(crate) errors: Vec<Reason>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Reason {
    pub(crate) what: String,
}

impl Refused {
    /// Returns whether the only reason is that a key has another index than the one that was compared.
    pub(crate) fn is_conflict(&self) -> bool {
        !self.errors.is_empty() && self.errors.iter().all(|reason| reason.what.ends_with("index is stale"))
    }

    /// Returns whether the only reason is that a key is not there.
    pub(crate) fn is_absence(&self) -> bool {
        !self.errors.is_empty() && self.errors.iter().all(|reason| reason.what.ends_with("doesn't exist"))
    }
}
