//! How bytes come from a repository, by name. Nothing of what a transport gives is believed: signatures and digests decide.

use crate::error::TrustError;
use async_trait::async_trait;
use futures_util::TryStreamExt;
use model::manifest::Digest;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes as they come.
pub type Bytes = Box<dyn AsyncRead + Send + Unpin>;

/// Gives what a repository holds.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Opens what has this name (`metadata/1.root.json`); none if nothing has it.
    ///
    /// # Errors
    /// It could not be asked for, or is nothing that can be read.
    async fn open(&self, name: &str) -> std::io::Result<Option<Bytes>>;

    /// How long one document of metadata may take.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// A repository in a directory.
#[derive(Clone, Debug)]
pub struct DirectoryTransport {
    /// The directory.
    pub path: PathBuf,
}

#[async_trait]
impl Transport for DirectoryTransport {
    async fn open(&self, name: &str) -> std::io::Result<Option<Bytes>> {
        Self::open_path(&self.path.join(name))
    }
}

impl DirectoryTransport {
    /// Opens a file; none if it is not there.
    pub(crate) fn open_path(path: &std::path::Path) -> std::io::Result<Option<Bytes>> {
        let file = open_file(path)?;
        Ok(file.map(|file| Box::new(tokio::fs::File::from_std(file)) as Bytes))
    }
}

/// Opens a regular file: a pipe would never begin, a device might never end.
pub(crate) fn open_file(path: &std::path::Path) -> std::io::Result<Option<std::fs::File>> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags).unwrap_or(0))
        .open(path);
    match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) if !file.metadata()?.is_file() => {
            Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"))
        }
        Ok(file) => Ok(Some(file)),
    }
}

/// A repository behind any web server.
#[derive(Clone, Debug)]
pub struct WebTransport {
    client: reqwest::Client,
    base: String,
    patience: Duration,
}

impl WebTransport {
    /// The repository at this address. A document of metadata that is not there in time is given up.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(base: &str, patience: Duration) -> std::io::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(patience)
            .build()
            .map_err(Error::other)?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self {
            client,
            base,
            patience,
        })
    }
}

#[async_trait]
impl Transport for WebTransport {
    async fn open(&self, name: &str) -> std::io::Result<Option<Bytes>> {
        let address = format!("{}/{name}", self.base);
        let answer = (self.client.get(address).send().await).map_err(Error::other)?;
        match answer.status() {
            status if status.is_success() => {
                let body = Box::pin(answer.bytes_stream().map_err(Error::other));
                Ok(Some(Box::new(tokio_util::io::StreamReader::new(body))))
            }
            reqwest::StatusCode::NOT_FOUND => Ok(None),
            status => Err(Error::other(format!("the web server answers {status}"))),
        }
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

/// Reads a whole document, but no more than `bytes_max`; none if it is not there.
pub(crate) async fn read(
    transport: &dyn Transport,
    name: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, TrustError> {
    let patience = transport.patience();
    let reading = async {
        let Some(reader) = transport.open(name).await? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        reader.take(bytes_max + 1).read_to_end(&mut bytes).await?;
        Ok(Some(bytes))
    };
    let read = tokio::time::timeout(patience, reading)
        .await
        .map_err(|_| TrustError::TooSlow {
            name: name.to_owned(),
            seconds: patience.as_secs(),
        })?;
    let bytes = read.map_err(|source| failed(name, source))?;
    if bytes
        .as_ref()
        .is_some_and(|bytes| bytes.len() as u64 > bytes_max)
    {
        return Err(TrustError::TooLarge {
            name: name.to_owned(),
            bytes_max,
        });
    }
    Ok(bytes)
}

/// Copies exactly the bytes that were signed: `size` of them, with this digest. What was written before an error is to be thrown away.
///
/// # Errors
/// They are not there, others, fewer or more; or they cannot be read or written.
pub async fn copy_verified(
    transport: &dyn Transport,
    name: &str,
    (sha256, size): (Digest, u64),
    to: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<(), TrustError> {
    let opened = transport.open(name).await;
    let missing = || TrustError::Missing {
        name: name.to_owned(),
    };
    let mut from = (opened.map_err(|source| failed(name, source))?).ok_or_else(missing)?;
    let altered = |problem: String| TrustError::Altered {
        name: name.to_owned(),
        problem,
    };
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut buffer = vec![0; 64 << 10];
    let mut copied = 0_u64;
    loop {
        let count = from.read(&mut buffer).await;
        let count = count.map_err(|source| failed(name, source))?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        copied += count as u64;
        if copied > size {
            return Err(altered(format!(
                "it has more than the {size} bytes that were signed"
            )));
        }
        hash.update(bytes);
        to.write_all(bytes)
            .await
            .map_err(|source| failed(name, source))?;
    }
    to.flush().await.map_err(|source| failed(name, source))?;
    if copied < size {
        return Err(altered(format!(
            "it has {copied} bytes, {size} were signed"
        )));
    }
    if hash.finish().as_ref() != sha256.0 {
        return Err(altered("its digest is another one".to_owned()));
    }
    Ok(())
}

fn failed(name: &str, source: Error) -> TrustError {
    TrustError::Transport {
        name: name.to_owned(),
        source,
    }
}
