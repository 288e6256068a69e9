use lease_core::{Error, ErrorKind, Result};
use lease_zookeeper::ZooKeeperStoreOptions;

use crate::Opened;

pub(crate) async fn open(url: &str) -> Result<Opened> {
    let rest = url.strip_prefix("zookeeper://").unwrap_or_default();
    let (addresses, chroot) = rest.split_once('/').unwrap_or((rest, ""));
    if addresses.is_empty() || rest.contains(['@', '?', '#']) {
        let message = "this is no URL of ZooKeeper: write zookeeper://host:port,host:port/chroot, and use \
                       ZooKeeperStoreOptions for credentials and ACLs";
        return Err(Error::new(ErrorKind::Invalid, "open", message));
    }
    let options = ZooKeeperStoreOptions::new();
    let options = if chroot.is_empty() { options } else { options.with_chroot(format!("/{chroot}")) };
    Ok(Opened::new(options.connect(addresses).await?))
}
