//! One transaction for each operation, over HTTP alone.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use lease_document::http::{Tls, client};
use reqwest::Client;
use serde_json::{Value, json};

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "raw HTTP";

/// In base64.
const HOLDER: &str = "aG9zdC00NzExLTAxMjM0NTY3ODlhYmNkZWY=";

#[derive(Clone)]
pub(crate) struct RawConsul {
    client: Client,
    url: String,
}

impl RawConsul {
    pub(crate) fn new(url: &str) -> Result<Self> {
        Ok(Self { client: client(Duration::from_secs(5), false, Tls::default())?, url: format!("{url}/v1/txn") })
    }

    /// Returns the index of the write.
    async fn transact(&self, operation: Value) -> Result<u64> {
        let body = json!([{ "KV": operation }]).to_string();
        let answer = self.client.put(&self.url).body(body).send().await?;
        ensure!(answer.status().is_success(), "it is not so: {}", answer.text().await?);
        let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
        Ok(answer["Results"][0]["KV"]["ModifyIndex"].as_u64().unwrap_or_default())
    }
}

#[async_trait]
impl Contender for RawConsul {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name { consul: self.clone(), key: format!("raw/{name}") }))
    }
}

struct Name {
    consul: RawConsul,
    key: String,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        let write = json!({ "Verb": "cas", "Key": self.key, "Value": HOLDER, "Index": 0 });
        let token = self.consul.transact(write).await.context("it is not free")?;
        Ok(Box::new(Grant { consul: self.consul.clone(), key: self.key.clone(), token }))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        bail!("a driver alone does not wait")
    }
}

struct Grant {
    consul: RawConsul,
    key: String,
    token: u64,
}

#[async_trait]
impl Held for Grant {
    async fn release(self: Box<Self>) -> Result<()> {
        let delete = json!({ "Verb": "delete-cas", "Key": self.key, "Index": self.token });
        self.consul.transact(delete).await.context("it was not held")?;
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        bail!("it has no expiry")
    }
}
