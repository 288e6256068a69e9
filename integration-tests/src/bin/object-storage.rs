//! A fake of S3, Google Cloud Storage and Azure Blob Storage: `object-storage PORT`, with its data in the working directory.

use std::path::Path;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).ok_or("usage: object-storage PORT")?.parse()?;
    match integration_tests::serve_object_storage(port, Path::new(".")).await? {}
}
