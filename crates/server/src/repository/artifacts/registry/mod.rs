//! Artifacts as blobs in an OCI registry, which names them by the same digest. A registry's garbage collection removes every blob that no
//! manifest names, so each artifact has a manifest, under a tag of its own: mirrors copy what has tags, and drop what only
//! refers to something else.

mod address;
mod documents;
mod login;
mod manifest;
#[cfg(test)]
pub(super) mod tests;
mod trouble;
mod upload;

pub(super) use address::is_registry;

use super::{ArtifactStore, ArtifactUpload, ArtifactsError};
use address::RegistryAddress;
use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use login::LoginSurroundings;
use manifest::{ARTIFACT_TYPE, blob_name, layer, tag_of};
use model::manifest::Digest;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol, SizedStream};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use trouble::{RegistryTrouble, asked};
use upload::RegistryUpload;

/// How long a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How long nothing may come: a part may have to be sent meanwhile.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// A registry's artifacts.
#[derive(Clone, Debug)]
pub(crate) struct RegistryArtifacts(Arc<Registry>);

struct Registry {
    /// Asks for manifests, and sends what is large, in parts.
    client: Client,
    /// Asks for everything else, and sends what is small at once. Without a login it does not ask the registry each time whether it wants one.
    quick: Client,
    login: RegistryAuth,
    address: RegistryAddress,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.address)
    }
}

impl RegistryArtifacts {
    /// The artifacts at `oci://HOST/NAME`. A registry that does not answer is waited for when it is asked: a server starts without it.
    ///
    /// # Errors
    /// The address is none, or the login cannot be read.
    pub(super) async fn open(address: &str) -> Result<Self, ArtifactsError> {
        Self::open_in(address, &LoginSurroundings::here()).await
    }

    async fn open_in(
        address: &str,
        surroundings: &LoginSurroundings,
    ) -> Result<Self, ArtifactsError> {
        let read = RegistryAddress::read(address)?;
        let login = surroundings.login(&read)?;
        if read.is_exposed() && login != RegistryAuth::Anonymous {
            tracing::warn!(registry = %read, "the login to the registry is sent without TLS, as the address says: everybody on the way can read it");
        }
        let made = |is_whole| {
            client(read.is_plain, is_whole).map_err(|why| ArtifactsError::Address {
                address: address.to_owned(),
                why,
            })
        };
        let (client, quick) = (made(false)?, made(true)?);
        client.store_auth_if_needed(&read.host, &login).await;
        if login != RegistryAuth::Anonymous {
            quick.store_auth_if_needed(&read.host, &login).await;
        }
        let registry = Self(Arc::new(Registry {
            client,
            quick,
            login,
            address: read,
        }));
        if let Err(error) = registry.0.manifest(documents::TAG).await {
            tracing::error!(%error, "artifacts cannot be had now; the server starts all the same");
        }
        Ok(registry)
    }
}

/// A client that sends a blob as a whole, or in parts.
fn client(is_plain: bool, is_whole: bool) -> Result<Client, String> {
    let protocol = if is_plain {
        ClientProtocol::Http
    } else {
        ClientProtocol::Https
    };
    let config = ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT_LIMIT),
        read_timeout: Some(SILENCE_LIMIT),
        use_monolithic_push: is_whole,
        user_agent: concat!("upstart/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|error| error.to_string())
}

impl Registry {
    fn reference(&self, tag: &str) -> Reference {
        let RegistryAddress { host, name, .. } = &self.address;
        Reference::with_tag(host.clone(), name.clone(), tag.to_owned())
    }

    /// The manifest under a tag; none when it is not there.
    async fn manifest(&self, tag: &str) -> io::Result<Option<OciImageManifest>> {
        let reference = self.reference(tag);
        let kinds = &[OCI_IMAGE_MEDIA_TYPE];
        let pull = || (self.client).pull_manifest_raw(&reference, &self.login, kinds);
        let pulled = asked(pull).await;
        let Some((bytes, _)) = self.there(pulled)? else {
            return Ok(None);
        };
        let manifest = serde_json::from_slice(&bytes);
        manifest.map(Some).map_err(|error| {
            io::Error::other(format!(
                "{}:{tag} is not of Upstart ({error}): give its server a name of its own in the registry",
                self.address
            ))
        })
    }

    /// Puts a manifest under a tag, in the place of one that was there; all blobs that it names are held from then on.
    async fn hold(&self, tag: &str, manifest: &OciImageManifest) -> io::Result<()> {
        let reference = self.reference(tag);
        let whole = manifest.clone().into();
        let push = || self.quick.push_manifest(&reference, &whole);
        let first = asked(push).await;
        if !first.as_ref().is_err_and(RegistryTrouble::is_of_content) {
            return first.map(drop).map_err(|error| self.told(error));
        }
        // The first manifest in a registry: what all have for their configuration is not there yet.
        let empty = Bytes::from_static(manifest::EMPTY);
        self.push(Digest::of(&empty), empty).await?;
        asked(push)
            .await
            .map(drop)
            .map_err(|error| self.told(error))
    }

    /// Stores a small blob, which is not empty, and which no manifest names yet.
    async fn push(&self, digest: Digest, bytes: Bytes) -> io::Result<()> {
        let name = blob_name(digest);
        let reference = self.reference(documents::TAG);
        let push = || self.quick.push_blob(&reference, bytes.clone(), &name);
        asked(push)
            .await
            .map(drop)
            .map_err(|error| self.told(error))
    }

    /// So many bytes of a blob from this one on; none when it is not there.
    async fn blob(&self, digest: Digest, first: u64, count: u64) -> io::Result<Option<Body>> {
        let (reference, name) = (self.reference(documents::TAG), blob_name(digest));
        let pull = || {
            let (blob, count) = (name.as_str(), Some(count));
            (self.quick).pull_blob_stream_partial(&reference, blob, first, count)
        };
        let stream = match self.there(asked(pull).await)? {
            None => return Ok(None),
            // A registry without ranges sends everything.
            Some(BlobResponse::Full(whole)) => return Ok(Some(part(whole, first, count))),
            Some(BlobResponse::Partial(stream)) => stream,
        };
        match stream.content_length {
            Some(found) if found != count => Err(io::Error::other(format!(
                "{} is damaged: it ends {} bytes early",
                self.shown(digest),
                count.saturating_sub(found)
            ))),
            _ => Ok(Some(Body::from_stream(stream))),
        }
    }

    fn shown(&self, digest: Digest) -> String {
        format!("{}@{}", self.address, blob_name(digest))
    }
}

/// A part of a stream that begins with the first byte.
fn part(whole: SizedStream, first: u64, count: u64) -> Body {
    let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let cut = whole.scan((first, count), move |(before, left), data| {
        if *left == 0 {
            return std::future::ready(None);
        }
        let data = data.map(|mut data: Bytes| {
            let mut wanted = data.split_off(length(*before).min(data.len()));
            *before -= data.len() as u64;
            wanted.truncate(length(*left));
            *left -= wanted.len() as u64;
            wanted
        });
        std::future::ready(Some(data))
    });
    Body::from_stream(cut)
}

#[async_trait]
impl ArtifactStore for RegistryArtifacts {
    async fn size(&self, digest: Digest) -> io::Result<Option<u64>> {
        let Self(registry) = self;
        let (name, tag) = (blob_name(digest), tag_of(digest));
        let reference = registry.reference(documents::TAG);
        let is_there = asked(|| registry.quick.blob_exists(&reference, &name));
        // One that nothing holds may be gone at any time.
        let (held, is_there) = tokio::join!(registry.manifest(&tag), is_there);
        let is_there = is_there.map_err(|error| registry.told(error))?;
        let layers = held?.map(|held| held.layers).unwrap_or_default();
        let mut layers = layers.into_iter().filter(|_| is_there);
        let found = layers.find(|layer| layer.digest == name);
        Ok(found.and_then(|layer| u64::try_from(layer.size).ok()))
    }

    async fn read(&self, digest: Digest, first: u64, count: u64) -> io::Result<Option<Body>> {
        if count == 0 {
            // There is no range of nothing.
            return Ok(self.size(digest).await?.map(|_| Body::empty()));
        }
        self.0.blob(digest, first, count).await
    }

    async fn whole(&self, digest: Digest) -> io::Result<Option<Vec<u8>>> {
        let Self(registry) = self;
        let (reference, name) = (registry.reference(documents::TAG), blob_name(digest));
        // Whoever wants it checks its digest, and says better what is wrong.
        let pull = || (registry.quick).pull_blob_stream_partial(&reference, name.as_str(), 0, None);
        let pulled = asked(pull).await;
        if pulled.as_ref().is_err_and(RegistryTrouble::is_of_nothing) {
            return Ok(self.size(digest).await?.map(|_| Vec::new()));
        }
        let Some(BlobResponse::Full(stream) | BlobResponse::Partial(stream)) =
            registry.there(pulled)?
        else {
            return Ok(None);
        };
        let came = Body::from_stream(stream).collect().await;
        Ok(Some(came.map_err(io::Error::other)?.to_bytes().to_vec()))
    }

    async fn begin(&self, digest: Digest) -> io::Result<Box<dyn ArtifactUpload>> {
        Ok(Box::new(RegistryUpload::new(Arc::clone(&self.0), digest)))
    }

    fn place(&self, digest: Digest) -> String {
        self.0.shown(digest)
    }
}

impl Registry {
    /// Has an artifact that was pushed held, so that garbage collection leaves it.
    async fn hold_artifact(&self, digest: Digest, size: u64) -> io::Result<()> {
        let layers = vec![layer(
            digest,
            size,
            manifest::BYTES_TYPE,
            &digest.to_string(),
        )];
        let manifest = manifest::of(ARTIFACT_TYPE, layers);
        self.hold(&tag_of(digest), &manifest).await
    }
}
