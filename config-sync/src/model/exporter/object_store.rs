//! Exports of usage events to an object store. [pure]

use std::sync::Arc;

use super::super::field;
use super::credential_ref::CredentialRef;
use super::endpoint::{Endpoint, PlainHosts};
use crate::tree::{Fields, Unknown};

/// A bucket and how it is written to.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectStore {
    /// Whose store it is.
    pub provider: ObjectStoreProvider,
    /// Bucket or container.
    pub bucket: Arc<str>,
    /// What every object's name starts with; may be empty.
    pub prefix: Arc<str>,
    /// Region; `None`: the provider's default.
    pub region: Option<Arc<str>>,
    /// Where the store is; `None`: the provider's own.
    pub endpoint: Option<Endpoint>,
    /// How objects are packed. Default: gzip.
    pub compression: Compression,
    /// Who writes.
    pub auth: ObjectStoreAuth,
}

/// The stores that are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ObjectStoreProvider {
    /// Amazon S3 and its like.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    AzureBlob,
}

/// How objects are packed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Compression {
    /// Gzip.
    #[default]
    Gzip,
    /// Not at all.
    None,
}

/// Who writes to a bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ObjectStoreAuth {
    /// Whoever the variables `OBJSTORE_CRED_<SLUG>_…` name.
    CredentialRef(CredentialRef),
    /// The identity of the machine or workload. Not on Azure.
    CloudIdentity,
}

impl ObjectStore {
    pub(super) fn read(fields: &Fields<'_>) -> Option<Self> {
        let providers = [
            ("s3", ObjectStoreProvider::S3),
            ("gcs", ObjectStoreProvider::Gcs),
            ("azure_blob", ObjectStoreProvider::AzureBlob),
        ];
        let packings = [("gzip", Compression::Gzip), ("none", Compression::None)];
        let stand_ins = &["minio", "azurite", "fake-gcs", "fake-gcs-server"];
        let plain = PlainHosts::read(fields, stand_ins);
        let provider = field::required_choice(fields, "provider", &providers);
        let bucket = field::text(fields, "bucket");
        field::required(fields, "prefix");
        let prefix = fields.take_str("prefix");
        let region = fields.take_str("region");
        let endpoint = Endpoint::read(fields, "endpoint", &plain);
        let compression = fields.take_choice("compression", &packings);
        let auth = read_auth(fields, provider);
        Some(Self {
            provider: provider?,
            bucket: bucket?,
            prefix: prefix?.into(),
            region: region.map(Arc::from),
            endpoint,
            compression: compression.unwrap_or_default(),
            auth: auth?,
        })
    }
}

fn read_auth(
    fields: &Fields<'_>,
    provider: Option<ObjectStoreProvider>,
) -> Option<ObjectStoreAuth> {
    let modes = [("credential_ref", false), ("cloud_identity", true)];
    if !fields.take_choice("auth_mode", &modes).unwrap_or(false) {
        return CredentialRef::read(fields).map(ObjectStoreAuth::CredentialRef);
    }
    fields.take_nonempty_str("credential_ref");
    if provider == Some(ObjectStoreProvider::AzureBlob) {
        fields.problem("auth_mode", "must not be cloud_identity with azure_blob");
    }
    // The machine's identity is good at the provider only, not at a store that is merely like it.
    if fields.unknown() == Unknown::Refused
        && provider == Some(ObjectStoreProvider::S3)
        && fields.has("endpoint")
    {
        let message = "must not be cloud_identity with s3 at another endpoint";
        fields.problem("auth_mode", message);
    }
    Some(ObjectStoreAuth::CloudIdentity)
}
