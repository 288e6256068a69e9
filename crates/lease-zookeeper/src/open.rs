//! Finds out whether the servers and the chroot serve, and creates what is missing.

use lease_core::{ErrorKind, ExpiryJudge, Result};
use lease_document::DocumentStore;
use zookeeper_client::{self as zk, Acl, AddWatchMode, Client};

use crate::{
    ZooKeeperStore,
    error::{Access, failure, store_error},
    paths::Paths,
    session::{Origin, Session},
    znodes::{Znodes, persistent},
};

const CONNECT: &str = "connect";

/// Opens the store of a client.
pub(crate) async fn open(
    client: Client,
    origin: Option<Origin>,
    chroot: &str,
    acls: Vec<Acl>,
    expiry_judge: ExpiryJudge,
) -> Result<ZooKeeperStore> {
    let paths = Paths::new(chroot.to_owned());
    create(&client, paths.chroot(), &acls).await?;
    write(&client, &paths.clock(), &acls).await?;
    let has_watches = has_watches(&client, paths.chroot()).await?;
    let session = Session::new(client, origin);
    Ok(DocumentStore::new(Znodes::new(session, paths, acls, expiry_judge, has_watches)))
}

/// Creates a node, unless it is there.
async fn create(client: &Client, path: &str, acls: &[Acl]) -> Result<()> {
    // Whoever may not create it may still use it.
    let is_there = client.check_stat(path).await.map_err(|cause| failure(cause, CONNECT, Access::Read, path))?;
    if let Some(stat) = is_there {
        if stat.ephemeral_owner != 0 {
            let message = format!("{path} is an ephemeral node, and can have none below it: choose another chroot");
            return Err(store_error(ErrorKind::Invalid, CONNECT, message));
        }
        return Ok(());
    }
    match client.create(path, b"", &persistent(acls)).await {
        Ok(_) | Err(zk::Error::NodeExists) => Ok(()),
        Err(zk::Error::NoNode) => {
            let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
            let message = format!(
                "{path} cannot be created, because {parent} does not exist: create it, or choose another chroot"
            );
            Err(store_error(ErrorKind::Invalid, CONNECT, message).with_source(zk::Error::NoNode))
        }
        Err(cause @ zk::Error::NoAuth) => Err(failure(cause, CONNECT, Access::Write, path)),
        // Nothing is lost if it was created all the same.
        Err(cause) => Err(failure(cause, CONNECT, Access::Read, path)),
    }
}

/// Writes the node of the clock, which shows that the credentials suffice.
async fn write(client: &Client, path: &str, acls: &[Acl]) -> Result<()> {
    match client.set_data(path, b"", None).await {
        Ok(_) => Ok(()),
        Err(zk::Error::NoNode) => create(client, path, acls).await,
        Err(cause @ zk::Error::NoAuth) => Err(failure(cause, CONNECT, Access::Write, path)),
        Err(cause) => Err(failure(cause, CONNECT, Access::Read, path)),
    }
}

/// Returns whether the servers have persistent recursive watches.
async fn has_watches(client: &Client, chroot: &str) -> Result<bool> {
    match client.watch(chroot, AddWatchMode::PersistentRecursive).await {
        Ok(_) => Ok(true),
        Err(zk::Error::Unimplemented) => {
            tracing::warn!(
                target: "lease",
                store = crate::STORE,
                "the servers are older than ZooKeeper 3.6 and have no recursive watches: waiters poll"
            );
            Ok(false)
        }
        Err(cause) => Err(failure(cause, CONNECT, Access::Read, chroot)),
    }
}
