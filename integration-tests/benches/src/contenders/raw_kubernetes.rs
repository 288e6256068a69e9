//! A Lease for each name, by kube alone.

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};

use crate::{
    contender::{Contender, Held, Resource},
    open::kubernetes_config,
};

pub(crate) const NAME: &str = "raw kube";

const HOLDER: &str = "host-4711-0123456789abcdef";

pub(crate) struct RawKubernetes {
    leases: Api<Lease>,
}

impl RawKubernetes {
    pub(crate) fn connect(url: &str) -> Result<Self> {
        Ok(Self { leases: Api::namespaced(Client::try_from(kubernetes_config(url)?)?, "default") })
    }
}

#[async_trait]
impl Contender for RawKubernetes {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        // A slash cannot be in the name of an object.
        Ok(Box::new(Object { leases: self.leases.clone(), name: format!("raw-{}", name.replace('/', "-")) }))
    }
}

#[derive(Clone)]
struct Object {
    leases: Api<Lease>,
    name: String,
}

#[async_trait]
impl Resource for Object {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec { holder_identity: Some(HOLDER.to_owned()), ..LeaseSpec::default() }),
        };
        self.leases.create(&PostParams::default(), &lease).await.context("it is not free")?;
        Ok(Box::new(self.clone()))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        bail!("a driver alone does not wait")
    }
}

#[async_trait]
impl Held for Object {
    async fn release(self: Box<Self>) -> Result<()> {
        self.leases.delete(&self.name, &DeleteParams::default()).await.context("it was not held")?;
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        bail!("it has no expiry")
    }
}
