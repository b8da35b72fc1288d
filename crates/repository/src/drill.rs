//! The drill of a lost key: whether the root can be rotated away from it, done in a copy that is thrown away.

use crate::error::SignError;
use crate::keys::{make_key, read_private_key};
use crate::metadata::ROLES;
use crate::mirror::copy_metadata;
use crate::roots::{self, RootChange};
use crate::sign::{Signer, keys_of};
use crate::transport::DirectoryTransport;
use crate::verifier::Verifier;
use crate::writer::RepositoryWriter;

/// What a drill showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillOutcome {
    /// The key that counted as lost.
    pub key: String,
    /// The root that a client which had pinned the one of today trusts at the end.
    pub root: u64,
}

/// Acts as if a key were lost: writes a root with a new key in its place into a copy, signed without it, and has a client that trusts
/// the root of today follow. The repository stays as it is.
///
/// # Errors
/// The keys do not suffice without the lost one; or something cannot be read or written.
pub async fn drill(
    repository: &RepositoryWriter,
    lost: &str,
    signers: Vec<Signer>,
    now: jiff::Timestamp,
) -> Result<(DrillOutcome, Vec<Signer>), SignError> {
    let root = &repository.trust().root.content.signed;
    let lost = roots::named(root, lost)?;
    let place = tempfile::tempdir().map_err(|source| SignError::Disk {
        path: std::env::temp_dir(),
        source,
    })?;
    let copy = place.path().join("repository");
    let transport = DirectoryTransport {
        path: repository.path().to_owned(),
    };
    copy_metadata(repository.trust(), &transport, &copy).await?;
    let file = place.path().join("new.pem");
    let key = make_key(&file)?;
    let has_it = |role: &_| keys_of(root, *role).iter().any(|key| key.id == lost);
    let change = RootChange {
        add: (ROLES.into_iter().filter(has_it))
            .map(|role| (role, key.clone()))
            .collect(),
        remove: vec![lost.clone()],
        thresholds: Vec::new(),
    };
    let (gone, mut left): (Vec<_>, Vec<_>) =
        (signers.into_iter()).partition(|signer| signer.key_id().as_ref() == Some(&lost));
    left.push(Signer::Key(read_private_key(&file)?));
    let mut rotated = RepositoryWriter::open(&copy).await?;
    let outcome = rotated.rotate(&change, &left, now).await;
    left.pop();
    left.extend(gone);
    outcome?;
    let mut client = Verifier::pin(&place.path().join("trusted"), repository.root())?;
    let copy = DirectoryTransport { path: copy };
    client.refresh(&copy, now).await?;
    let root = client.root_version().get();
    Ok((DrillOutcome { key: lost, root }, left))
}
