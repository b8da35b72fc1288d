//! Artifacts as objects in S3. What is larger than a part is uploaded in parts while it comes; S3 shows it to nobody before it is
//! completed, and it is completed only when its digest is right. An upload that is over leaves nothing: it is noted in a file
//! before its first part, and what a server that was killed has noted is given up at its next start.

use super::address::{AwsSurroundings, BucketAddress, connected};
use super::{ArtifactStore, ArtifactUpload, ArtifactsError, DocumentStore, StoredDocument};
use async_trait::async_trait;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use model::manifest::Digest;
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path as Name;
use object_store::{Error, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::fs;

/// How much is uploaded at once: S3 takes at most 10 000 parts of an object, and the largest artifact has 8 GiB.
const PART_BYTES: usize = 8 << 20;

/// S3's word for a bucket that is not there.
const NO_BUCKET: &str = "NoSuchBucket";

/// How the name of a file ends that notes an upload under way.
const NOTE_ENDING: &str = "upload";

/// A bucket's artifacts.
#[derive(Clone, Debug)]
pub(crate) struct ObjectArtifacts(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    s3: AmazonS3,
    address: BucketAddress,
    /// The folder with a file for each upload under way.
    notes: PathBuf,
}

impl ObjectArtifacts {
    /// The artifacts at `s3://BUCKET/PREFIX`; uploads under way are noted in this folder, which is this server's alone. A store that does
    /// not answer is waited for when it is asked: a server starts without it.
    ///
    /// # Errors
    /// The address or the keys are of no use, or the bucket is not there.
    pub(crate) async fn open(address: &str, notes: PathBuf) -> Result<Self, ArtifactsError> {
        Self::open_in(address, notes, AwsSurroundings::here()).await
    }

    pub(super) async fn open_in(
        address: &str,
        notes: PathBuf,
        surroundings: AwsSurroundings,
    ) -> Result<Self, ArtifactsError> {
        let read = BucketAddress::read(address)?;
        let s3 = connected(address, &read.bucket, surroundings)?;
        let left = noted(&notes)
            .await
            .map_err(|source| ArtifactsError::Notes {
                path: notes.clone(),
                source,
            })?;
        let bucket = Arc::new(Bucket {
            s3,
            address: read,
            notes,
        });
        let prefix = Name::from(bucket.address.prefix.as_str());
        match bucket.s3.list(Some(&prefix)).next().await {
            Some(Err(error)) if says(&error, NO_BUCKET) => {
                return Err(ArtifactsError::NoBucket(address.to_owned()));
            }
            Some(Err(error)) => {
                let error = bucket.told(error);
                tracing::error!(%error, "artifacts cannot be had now; the server starts all the same");
            }
            _ => {}
        }
        if !left.is_empty() {
            tokio::spawn(give_up_left(Arc::clone(&bucket), left));
        }
        Ok(Self(bucket))
    }
}

#[async_trait]
impl DocumentStore for ObjectArtifacts {
    async fn documents(&self) -> io::Result<BTreeMap<String, Option<String>>> {
        let Self(bucket) = self;
        let mut found = BTreeMap::new();
        let folder = bucket.document("");
        let mut listed = bucket.s3.list(Some(&folder));
        while let Some(about) = listed.next().await {
            let about = about.map_err(|error| bucket.told(error))?;
            if let Some(name) = about.location.filename() {
                found.insert(name.to_owned(), about.e_tag);
            }
        }
        Ok(found)
    }

    async fn document(&self, name: &str) -> io::Result<Option<StoredDocument>> {
        let Self(bucket) = self;
        bucket.whole(&bucket.document(name)).await
    }

    async fn replace(
        &self,
        documents: Vec<(String, Option<Vec<u8>>)>,
        gone: &[String],
    ) -> io::Result<BTreeMap<String, Option<String>>> {
        let Self(bucket) = self;
        let mut tags = BTreeMap::new();
        for (name, bytes) in documents {
            if let Some(bytes) = bytes {
                let put = bucket.s3.put(&bucket.document(&name), bytes.into()).await;
                let put = put.map_err(|error| bucket.told(error))?;
                tags.insert(name, put.e_tag);
            }
        }
        for name in gone {
            let removed = bucket.s3.delete(&bucket.document(name)).await;
            bucket.there(removed)?;
        }
        Ok(tags)
    }
}

/// The files that note uploads, in a folder that is made if need be.
async fn noted(notes: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(notes).await?;
    let mut found = Vec::new();
    let mut entries = fs::read_dir(notes).await?;
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == NOTE_ENDING) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Gives up what a server that was killed has begun; what cannot be given up now is at the next start.
async fn give_up_left(bucket: Arc<Bucket>, left: Vec<PathBuf>) {
    for note in left {
        let text = fs::read_to_string(&note).await.unwrap_or_default();
        let given_up = match text.trim().split_once(' ') {
            Some((digest, id)) => match digest.parse() {
                Ok(digest) => bucket.give_up(digest, id, &note).await,
                Err(_) => fs::remove_file(&note).await,
            },
            // Half a note is of an upload that had no part yet.
            None => fs::remove_file(&note).await,
        };
        match given_up {
            Ok(()) => {
                tracing::info!(note = %note.display(), "gave up what a server that was killed has begun to upload")
            }
            Err(error) => {
                tracing::warn!(%error, note = %note.display(), "the beginning of an artifact stays in the bucket until the next start");
            }
        }
    }
}

impl Bucket {
    fn name(&self, digest: Digest) -> Name {
        let BucketAddress { prefix, .. } = &self.address;
        Name::from(format!("{prefix}/{digest}"))
    }

    fn document(&self, name: &str) -> Name {
        let BucketAddress { prefix, .. } = &self.address;
        Name::from(format!("{prefix}/metadata/{name}"))
    }

    async fn whole(&self, name: &Name) -> io::Result<Option<StoredDocument>> {
        let Some(got) = self.there(self.s3.get(name).await)? else {
            return Ok(None);
        };
        let tag = got.meta.e_tag.clone();
        let bytes = got.bytes().await.map_err(|error| self.told(error))?;
        Ok(Some(StoredDocument {
            bytes: bytes.to_vec(),
            tag,
        }))
    }

    fn shown(&self) -> String {
        let BucketAddress { bucket, prefix } = &self.address;
        format!("s3://{bucket}/{prefix}")
    }

    /// Nothing where an object is not there, and what else is wrong in words.
    fn there<T>(&self, found: Result<T, Error>) -> io::Result<Option<T>> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.told(error)),
        }
    }

    fn told(&self, error: Error) -> io::Error {
        let shown = self.shown();
        let why = innermost(&error);
        io::Error::other(match error {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => format!(
                "{shown} refuses this server's keys: let them list, read and write there ({why})"
            ),
            _ => format!("{shown} does not do what it is asked: {why}"),
        })
    }

    /// Gives up an upload in parts, and forgets it.
    async fn give_up(&self, digest: Digest, id: &str, note: &Path) -> io::Result<()> {
        let (name, id) = (self.name(digest), id.to_owned());
        // One that is not there was given up, or completed.
        self.there(self.s3.abort_multipart(&name, &id).await)?;
        fs::remove_file(note).await
    }
}

/// Whether a word is in an error or a cause of it.
fn says(error: &dyn std::error::Error, word: &str) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| cause.to_string().contains(word))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[async_trait]
impl ArtifactStore for ObjectArtifacts {
    async fn size(&self, digest: Digest) -> io::Result<Option<u64>> {
        let Self(bucket) = self;
        let about = bucket.there(bucket.s3.head(&bucket.name(digest)).await)?;
        Ok(about.map(|about| about.size))
    }

    async fn read(&self, digest: Digest, first: u64, count: u64) -> io::Result<Option<Body>> {
        if count == 0 {
            // S3 has no range of nothing.
            return Ok(self.size(digest).await?.map(|_| Body::empty()));
        }
        let Self(bucket) = self;
        let part = GetRange::Bounded(first..first + count);
        let options = GetOptions::new().with_range(Some(part));
        let got = bucket.s3.get_opts(&bucket.name(digest), options).await;
        let got = bucket.there(got)?;
        Ok(got.map(|got| Body::from_stream(got.into_stream())))
    }

    async fn whole(&self, digest: Digest) -> io::Result<Option<Vec<u8>>> {
        let Self(bucket) = self;
        let whole = bucket.whole(&bucket.name(digest)).await?;
        Ok(whole.map(|object| object.bytes))
    }

    async fn begin(&self, digest: Digest) -> io::Result<Box<dyn ArtifactUpload>> {
        Ok(Box::new(ObjectUpload {
            bucket: Arc::clone(&self.0),
            digest,
            came: BytesMut::new(),
            begun: None,
        }))
    }

    fn place(&self, digest: Digest) -> String {
        format!("s3://{}/{}", self.0.address.bucket, self.0.name(digest))
    }
}

/// An object on its way.
struct ObjectUpload {
    bucket: Arc<Bucket>,
    digest: Digest,
    /// What no part has yet.
    came: BytesMut,
    /// None as long as it is no more than a part.
    begun: Option<PartsUpload>,
}

/// An upload in parts.
struct PartsUpload {
    id: String,
    note: PathBuf,
    parts: Vec<PartId>,
}

impl ObjectUpload {
    async fn send_part(&mut self, part: Bytes) -> io::Result<()> {
        let bucket = Arc::clone(&self.bucket);
        let name = bucket.name(self.digest);
        let begun = match &mut self.begun {
            Some(begun) => begun,
            None => {
                let id = bucket.s3.create_multipart(&name).await;
                let id = id.map_err(|error| bucket.told(error))?;
                let file = format!("{:032x}.{NOTE_ENDING}", rand::random::<u128>());
                let note = bucket.notes.join(file);
                let text = format!("{} {id}\n", self.digest);
                let begun = self.begun.insert(PartsUpload {
                    id,
                    note,
                    parts: Vec::new(),
                });
                fs::write(&begun.note, text).await?;
                begun
            }
        };
        let number = begun.parts.len();
        let sent = bucket.s3.put_part(&name, &begun.id, number, part.into());
        let sent = sent.await.map_err(|error| bucket.told(error))?;
        begun.parts.push(sent);
        Ok(())
    }
}

#[async_trait]
impl ArtifactUpload for ObjectUpload {
    async fn add(&mut self, data: Bytes) -> io::Result<()> {
        self.came.extend_from_slice(&data);
        while self.came.len() > PART_BYTES {
            let part = self.came.split_to(PART_BYTES).freeze();
            self.send_part(part).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> io::Result<()> {
        let rest = self.came.split().freeze();
        let bucket = Arc::clone(&self.bucket);
        let name = bucket.name(self.digest);
        if self.begun.is_none() {
            let put = bucket.s3.put(&name, rest.into()).await;
            return put.map(drop).map_err(|error| bucket.told(error));
        }
        self.send_part(rest).await?;
        if let Some(begun) = &self.begun {
            let completed = bucket
                .s3
                .complete_multipart(&name, &begun.id, begun.parts.clone());
            completed.await.map_err(|error| bucket.told(error))?;
        }
        if let Some(begun) = self.begun.take()
            && let Err(error) = fs::remove_file(&begun.note).await
        {
            // At the next start it is seen that nothing is under way.
            tracing::warn!(%error, "the note of an upload that is over stays");
        }
        Ok(())
    }
}

impl Drop for ObjectUpload {
    fn drop(&mut self) {
        let Some(begun) = self.begun.take() else {
            return;
        };
        let (bucket, digest) = (Arc::clone(&self.bucket), self.digest);
        // Without a runtime the server ends, and the next one finds the note.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = bucket.give_up(digest, &begun.id, &begun.note).await {
                    tracing::warn!(%error, "the beginning of an artifact stays in the bucket until the next start");
                }
            });
        }
    }
}
