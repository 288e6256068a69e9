//! The protocol of `consul lock`: a session for each lock, whose end releases it; waiters by blocking queries.
//! <https://developer.hashicorp.com/consul/commands/lock>.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use lease_document::http::{Tls, client};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "consul lock";

/// The defaults of the command.
const SESSION: &str = "15s";
const WAIT: &str = "15s";

#[derive(Clone)]
pub(crate) struct ConsulLock {
    client: Client,
    url: String,
}

impl ConsulLock {
    pub(crate) fn new(url: &str) -> Result<Self> {
        Ok(Self { client: client(Duration::from_secs(5), false, Tls::default())?, url: format!("{url}/v1") })
    }

    async fn put(&self, path: &str, body: String) -> Result<Value> {
        let answer = self.client.put(format!("{}/{path}", self.url)).body(body).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// Waits until no session has the key.
    async fn is_free(&self, key: &str) -> Result<()> {
        let mut index = "0".to_owned();
        loop {
            let answer = self.client.get(format!("{}/kv/{key}?wait={WAIT}&index={index}", self.url)).send().await?;
            if answer.status() == StatusCode::NOT_FOUND {
                return Ok(());
            }
            let next = answer.headers().get("x-consul-index").context("an answer without an index")?;
            index = next.to_str()?.to_owned();
            let pairs: Value = serde_json::from_slice(&answer.bytes().await?)?;
            if pairs[0]["Session"].is_null() {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Contender for ConsulLock {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name { consul: self.clone(), key: format!("consul-lock/{name}/.lock") }))
    }
}

struct Name {
    consul: ConsulLock,
    key: String,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        // The command has no other way.
        self.lock().await
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        let created = self.consul.put("session/create", json!({ "TTL": SESSION }).to_string()).await?;
        let session = created["ID"].as_str().context("a session without an id")?.to_owned();
        loop {
            self.consul.is_free(&self.key).await?;
            let acquired = self.consul.put(&format!("kv/{}?acquire={session}", self.key), String::new()).await?;
            if acquired == true {
                break;
            }
        }
        Ok(Box::new(Grant { consul: self.consul.clone(), key: self.key.clone(), session }))
    }
}

struct Grant {
    consul: ConsulLock,
    key: String,
    session: String,
}

#[async_trait]
impl Held for Grant {
    async fn release(self: Box<Self>) -> Result<()> {
        let Self { consul, key, session } = *self;
        let released = consul.put(&format!("kv/{key}?release={session}"), String::new()).await?;
        ensure!(released == true, "it was not held");
        consul.put(&format!("session/destroy/{session}"), String::new()).await?;
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
