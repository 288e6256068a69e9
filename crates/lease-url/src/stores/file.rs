use lease_core::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;

use crate::Opened;

pub(crate) async fn open(url: &str) -> Result<Opened> {
    let path = url.strip_prefix("file://").filter(|path| path.starts_with('/') && !path.contains(['?', '#']));
    let path = path.and_then(|path| percent_decode_str(path).decode_utf8().ok());
    let Some(path) = path else {
        let message = "this is no URL of a directory: write file:///path, with three slashes, and % and two digits \
                       for special characters";
        return Err(Error::new(ErrorKind::Invalid, "open", message));
    };
    Ok(Opened::new(lease_file::open(path.into_owned()).await?))
}
