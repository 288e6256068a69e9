//! A Lease object, with our record in an annotation.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use lease_core::LeaseName;
use lease_document::{Document, Shown, Version};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use crate::{names::Names, spec::Spec};

const API_VERSION: &str = "coordination.k8s.io/v1";
/// The annotation with the record, and with the spec that was written with it.
const RECORD: &str = "app-runtime-leases/record";
/// The annotation with the name of the lease, which the name of the object may not be.
const NAME: &str = "app-runtime-leases/name";
/// The label of all objects of a store.
const PREFIX: &str = "app-runtime-leases/prefix";

/// A Lease, as far as this library reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    /// A bookmark has none.
    #[serde(default)]
    name: String,
    resource_version: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The content of the annotation. The record counts only while the object has this spec: client-go keeps the annotations of others
/// when it takes a Lease over.
#[derive(Serialize, Deserialize)]
struct Annotation<'a> {
    spec: Spec,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// This resourceVersion is not a number.
#[derive(Debug)]
pub(crate) struct NotANumber(String);

impl fmt::Display for NotANumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the resourceVersion {:?} is no number", self.0)
    }
}

impl std::error::Error for NotANumber {}

/// Reads a resourceVersion: the revision of etcd.
pub(crate) fn number(resource_version: &str) -> Result<u64, NotANumber> {
    resource_version.parse().map_err(|_| NotANumber(resource_version.to_owned()))
}

impl Object {
    /// Returns the name of its lease, or `None` if it is no object of this store.
    pub(crate) fn lease(&self, names: &Names) -> Option<LeaseName> {
        match self.metadata.annotations.get(NAME) {
            Some(name) => LeaseName::new(name.as_str()).ok().filter(|name| names.object(name) == self.metadata.name),
            None => names.plain(&self.metadata.name),
        }
    }

    /// Returns the moment in the history of the cluster at which it was written.
    pub(crate) fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }

    /// Returns its version, which says how many transitions there were.
    pub(crate) fn version(&self) -> Result<Version, NotANumber> {
        let text = &self.metadata.resource_version;
        let transitions = self.spec.lease_transitions.unwrap_or(0);
        Ok(Version::new(format!("{text} {transitions}")).with_number(number(text)?))
    }

    /// Returns whether it has this name.
    pub(crate) fn is_named(&self, object: &str) -> bool {
        self.metadata.name == object
    }

    /// Returns whether it is the object of this name with this record.
    pub(crate) fn has(&self, object: &str, value: &[u8]) -> bool {
        self.is_named(object) && self.document().is_ok_and(|document| document.value == value)
    }

    /// Returns the record, and whose lease it is if the record does not count.
    pub(crate) fn document(&self) -> Result<Document, NotANumber> {
        let version = self.version()?;
        let Some(text) = self.metadata.annotations.get(RECORD) else {
            return Ok(Document::new(Vec::new(), version).with_foreign(self.spec.foreign()));
        };
        // What is no record is refused by whoever reads it.
        let Ok(Annotation { spec, record }) = serde_json::from_str(text) else {
            return Ok(Document::new(text.clone().into_bytes(), version));
        };
        let foreign = (spec != self.spec).then(|| self.spec.foreign());
        Ok(Document::new(record.get().as_bytes().to_vec(), version).with_foreign(foreign))
    }
}

/// Returns what selects the objects of a store in a query.
pub(crate) fn selector(names: &Names) -> String {
    format!("labelSelector={}%3D{}", PREFIX.replace('/', "%2F"), names.label())
}

/// Returns an object without a holder and without a record.
pub(crate) fn new_object(names: &Names, object: &str) -> Vec<u8> {
    let labels = json!({ PREFIX: names.label() });
    let metadata = json!({ "name": object, "labels": labels });
    json!({ "apiVersion": API_VERSION, "kind": "Lease", "metadata": metadata }).to_string().into_bytes()
}

/// Returns the object of a record, or the changes that make it of the one with this version.
pub(crate) fn with_record(
    names: &Names,
    name: &LeaseName,
    value: &[u8],
    expected: Option<&Version>,
    now: SystemTime,
) -> Option<Vec<u8>> {
    let (resource_version, transitions) = match expected {
        Some(version) => version.tag.split_once(' ')?,
        None => ("", "-1"),
    };
    let spec = Spec::of(&Shown::read(value)?, transitions.parse().ok()?, now);
    let record: &RawValue = serde_json::from_slice(value).ok()?;
    let annotation = serde_json::to_string(&Annotation { spec: spec.clone(), record }).ok()?;
    let mut object = json!({
        "apiVersion": API_VERSION,
        "kind": "Lease",
        "metadata": {
            "name": names.object(name),
            "labels": { PREFIX: names.label() },
            "annotations": { NAME: name.as_str(), RECORD: annotation },
        },
        "spec": spec,
    });
    if expected.is_some() {
        object["metadata"]["resourceVersion"] = resource_version.into();
    }
    serde_json::to_vec(&object).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use lease_core::HolderId;
    use lease_document::Foreign;
    use serde_json::Value;

    use super::*;

    const RECORD_JSON: &[u8] =
        br#"{"name":"job","holder":"pod-1","grant":"1","acquired_us":5,"ttl_us":9000000,"lasts_us":9000000,"phase":"held"}"#;

    fn written(expected: Option<&Version>) -> Value {
        let names = Names::new(String::new()).unwrap();
        let name = LeaseName::new("job").unwrap();
        serde_json::from_slice(&with_record(&names, &name, RECORD_JSON, expected, UNIX_EPOCH).unwrap()).unwrap()
    }

    fn read(mut object: Value) -> Object {
        object["metadata"]["resourceVersion"] = "17".into();
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_record_is_read_back_while_the_spec_says_the_same() {
        let object = read(written(None));
        let document = object.document().unwrap();
        assert_eq!((document.value.as_slice(), document.foreign), (RECORD_JSON, None));
        assert_eq!(document.version, Version::new("17 0").with_number(17));
        assert_eq!(object.lease(&Names::new(String::new()).unwrap()), Some(LeaseName::new("job").unwrap()));
        for (field, value) in [
            ("holderIdentity", Value::from("peer")),
            ("leaseDurationSeconds", 10.into()),
            ("acquireTime", "1970-01-01T00:00:00.000006Z".into()),
            ("renewTime", "1970-01-01T00:00:01.000000Z".into()),
            ("leaseTransitions", 1.into()),
        ] {
            let mut changed = written(None);
            changed["spec"][field] = value;
            let document = read(changed).document().unwrap();
            assert_eq!(document.value, RECORD_JSON, "its token still counts");
            assert!(matches!(document.foreign, Some(Foreign::Held { .. })), "{field}");
        }
    }

    #[test]
    fn s25_another_object_or_another_record_is_not_what_was_written() {
        let object = read(written(None));
        assert!(object.is_named("job") && object.has("job", RECORD_JSON));
        assert!(!object.is_named("other") && !object.has("other", RECORD_JSON) && !object.has("job", b"{}"));
        let mut without = written(None);
        without["metadata"]["annotations"] = json!({});
        assert!(!read(without).has("job", RECORD_JSON));
    }

    #[test]
    fn a_change_names_the_version_and_counts_transitions() {
        let change = written(Some(&Version::new("16 4").with_number(16)));
        assert_eq!(change["metadata"]["resourceVersion"], "16");
        assert_eq!(change["spec"]["leaseTransitions"], 5);
        let new = written(None);
        assert_eq!(new["metadata"].get("resourceVersion"), None);
        assert_eq!(new["spec"]["leaseTransitions"], 0);
    }

    #[test]
    fn a_lease_without_a_record_is_that_of_its_holder() {
        let object = |spec: Value| read(json!({ "metadata": { "name": "job" }, "spec": spec })).document().unwrap();
        let held = object(json!({ "holderIdentity": "peer", "leaseDurationSeconds": 15, "strategy": "any" }));
        assert_eq!(held.foreign, Some(Foreign::held(HolderId::from_store("peer"), Duration::from_secs(15))));
        assert!(held.value.is_empty());
        assert_eq!(object(json!({})).foreign, Some(Foreign::Free));
        let garbage = read(json!({ "metadata": { "name": "job", "annotations": { RECORD: "hello" } } }));
        assert_eq!(garbage.document().unwrap(), Document::new(b"hello".to_vec(), Version::new("17 0").with_number(17)));
        let mut odd = garbage;
        odd.metadata.resource_version = "v17".to_owned();
        assert_eq!(odd.document().unwrap_err().0, "v17");
    }
}
