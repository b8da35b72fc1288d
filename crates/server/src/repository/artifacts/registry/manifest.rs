//! The manifests by which a registry holds what is Upstart's, as the OCI image specification (1.1) has artifacts packaged.

use model::manifest::Digest;
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use std::collections::BTreeMap;

/// What the manifest of an artifact is of.
pub(super) const ARTIFACT_TYPE: &str = "application/vnd.upstart.artifact.v1";

/// What the manifest of the documents is of.
pub(super) const DOCUMENTS_TYPE: &str = "application/vnd.upstart.metadata.v1";

/// The type of an artifact's bytes.
pub(super) const BYTES_TYPE: &str = "application/octet-stream";

/// The type of a document's.
pub(super) const JSON_TYPE: &str = "application/json";

/// What stands in the place of an image's configuration.
pub(super) const EMPTY: &[u8] = b"{}";

/// Its type.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The annotation under which tools find the name of a file.
const TITLE: &str = "org.opencontainers.image.title";

/// A manifest of this type with these layers.
pub(super) fn of(artifact_type: &str, layers: Vec<OciDescriptor>) -> OciImageManifest {
    OciImageManifest {
        media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
        artifact_type: Some(artifact_type.to_owned()),
        config: described(Digest::of(EMPTY), EMPTY.len() as u64, EMPTY_TYPE),
        layers,
        ..OciImageManifest::default()
    }
}

/// A blob with a name for people and tools.
pub(super) fn layer(digest: Digest, size: u64, media_type: &str, title: &str) -> OciDescriptor {
    let title = (TITLE.to_owned(), title.to_owned());
    OciDescriptor {
        annotations: Some(BTreeMap::from([title])),
        ..described(digest, size, media_type)
    }
}

fn described(digest: Digest, size: u64, media_type: &str) -> OciDescriptor {
    OciDescriptor {
        media_type: media_type.to_owned(),
        digest: blob_name(digest),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    }
}

/// The name that a layer has for people and tools.
pub(super) fn title(layer: &OciDescriptor) -> Option<&str> {
    let title = layer.annotations.as_ref()?.get(TITLE)?;
    Some(title.as_str())
}

/// How registries name what has this digest.
pub(super) fn blob_name(digest: Digest) -> String {
    format!("sha256:{digest}")
}

/// The tag of the manifest that holds an artifact. Not `sha256-…`, by which registries and tools mean referrers.
pub(super) fn tag_of(digest: Digest) -> String {
    format!("artifact-{digest}")
}
