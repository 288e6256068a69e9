//! One statement for each grant, by sqlx alone: the five columns of the contract, prepared, committed synchronously.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use sqlx::{Connection, PgConnection, Row};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "raw sqlx";

const CONNECTIONS: usize = 32;

const TABLE: &str = "create table if not exists raw_leases (
    lease_name text collate \"C\" primary key,
    holder_id text not null,
    version bigint not null,
    acquired_at_utc timestamptz not null,
    expires_at_utc timestamptz not null
) with (fillfactor = 50)";

const ACQUIRE: &str = "insert into raw_leases as l (lease_name, holder_id, version, acquired_at_utc, expires_at_utc)
    select $1, $2, (date_part('epoch', c) * 1000000)::bigint, c, c + $3 * interval '1 microsecond'
    from (select clock_timestamp() as c offset 0) as t
    on conflict (lease_name) do update set
        holder_id = excluded.holder_id,
        version = greatest(l.version + 1, excluded.version),
        acquired_at_utc = excluded.acquired_at_utc,
        expires_at_utc = excluded.expires_at_utc
    where l.expires_at_utc <= clock_timestamp()
    returning version";

const RELEASE: &str =
    "update raw_leases set expires_at_utc = 'epoch' where lease_name = $1 and holder_id = $2 and version = $3";

const HOLDER: &str = "host-4711-0123456789abcdef";
const TTL_US: i64 = 30_000_000;

pub(crate) struct RawPostgres(Arc<Connections>);

impl RawPostgres {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let mut idle = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            idle.push(PgConnection::connect(url).await?);
        }
        sqlx::query(TABLE).execute(&mut idle[0]).await?;
        Ok(Self(Arc::new(Connections { permits: Semaphore::new(CONNECTIONS), idle: Mutex::new(idle) })))
    }
}

#[async_trait]
impl Contender for RawPostgres {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name { connections: Arc::clone(&self.0), name: name.to_owned() }))
    }
}

/// Connections without the pool of the driver, which asks a connection for a sign of life each time that it comes back.
struct Connections {
    permits: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
}

impl Connections {
    async fn lend(&self) -> Result<Lent<'_>> {
        let permit = self.permits.acquire().await?;
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Lent {
            connections: self,
            connection: Some(connection.context("a permit without a connection")?),
            _permit: permit,
        })
    }
}

struct Lent<'a> {
    connections: &'a Connections,
    connection: Option<PgConnection>,
    _permit: SemaphorePermit<'a>,
}

impl Lent<'_> {
    fn connection(&mut self) -> Result<&mut PgConnection> {
        self.connection.as_mut().context("it is lent until it is dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.connections.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.connection.take());
    }
}

struct Name {
    connections: Arc<Connections>,
    name: String,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        let mut lent = self.connections.lend().await?;
        let query = sqlx::query(ACQUIRE).bind(&self.name).bind(HOLDER).bind(TTL_US);
        let row = query.fetch_optional(lent.connection()?).await?.context("it is not free")?;
        let version = row.try_get("version")?;
        Ok(Box::new(Grant { connections: Arc::clone(&self.connections), name: self.name.clone(), version }))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        bail!("a driver alone does not wait")
    }
}

struct Grant {
    connections: Arc<Connections>,
    name: String,
    version: i64,
}

#[async_trait]
impl Held for Grant {
    async fn release(self: Box<Self>) -> Result<()> {
        let mut lent = self.connections.lend().await?;
        let query = sqlx::query(RELEASE).bind(&self.name).bind(HOLDER).bind(self.version);
        let done = query.execute(lent.connection()?).await?;
        ensure!(done.rows_affected() == 1, "it was not held");
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
