//! The services, and what is special about each.

use std::time::Duration;

use crate::version::Compared;

/// Who stores the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Amazon S3, and what speaks its protocol.
    Amazon,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Google,
    /// A store that the application brings.
    Given,
}

impl Service {
    /// The name of the store in errors and capabilities.
    pub(crate) const fn store(self) -> &'static str {
        match self {
            Self::Amazon => "s3",
            Self::Azure => "azure-blob",
            Self::Google => "gcs",
            Self::Given => "object-store",
        }
    }

    /// What contains the objects.
    pub(crate) const fn container(self) -> &'static str {
        match self {
            Self::Azure => "container",
            Self::Amazon | Self::Google | Self::Given => "bucket",
        }
    }

    /// What to check when it refuses the credentials.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::Amazon => {
                "check the credentials (AWS_ACCESS_KEY_ID, a role, an instance profile), and allow s3:GetObject, \
                 s3:PutObject and s3:ListBucket, without which a missing object is answered like a forbidden one"
            }
            Self::Azure => {
                "check the credentials (an account key, a SAS, a managed or workload identity), and assign the role \
                 Storage Blob Data Contributor on the container"
            }
            Self::Google => {
                "check the credentials (GOOGLE_SERVICE_ACCOUNT, application default credentials, a workload identity), and \
                 grant storage.objects.get, .create, .delete (which overwriting needs) and .list on the bucket"
            }
            Self::Given => "check its credentials and its rights to get, put and list objects",
        }
    }

    /// What it may compare in a conditional write. The one that it does is found out when the store connects.
    pub(crate) const fn may_compare(self) -> &'static [Compared] {
        match self {
            Self::Amazon | Self::Azure => &[Compared::ETag],
            Self::Google => &[Compared::Version],
            Self::Given => &[Compared::ETag, Compared::Version],
        }
    }

    /// The smallest ttl: a holder renews three times within it.
    pub(crate) const fn min_ttl(self) -> Duration {
        match self {
            // It takes one write a second for each object, and refuses others with 429.
            Self::Google => Duration::from_secs(5),
            Self::Amazon | Self::Azure | Self::Given => Duration::from_secs(2),
        }
    }
}
