//! `upstart export` and `upstart import`: a signed repository on its way to a site without a network.

use super::keys::{RepositoryArgs, ServedRepository, open, unsigned, untrusted};
use super::operate::done;
use crate::connection::wait_for;
use crate::failure::{Advise, CommandOutcome, failure};
use crate::files;
use crate::globals::Globals;
use crate::output::counted;
use clap::Args;
use repository::{
    ArchiveTransport, DirectoryTransport, Mirrored, RepositoryWriter, Transport, Verifier, mirror,
    pack,
};
use std::path::{Path, PathBuf};

/// Below a repository: what was trusted when it was imported last.
const TRUSTED_FILE: &str = "trusted.json";

/// Arguments of `upstart export`.
#[derive(Debug, Args)]
#[command(after_help = "Example: upstart export shop.tar")]
pub(crate) struct ExportArgs {
    /// Where to: a file whose name ends in `.tar`, else a folder
    #[arg(value_name = "DIR|FILE.tar")]
    to: PathBuf,
    #[command(flatten)]
    repository: RepositoryArgs,
}

/// Arguments of `upstart import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  upstart import shop.tar --root root.json    the first time, with a root that came on a way of its own
  upstart import shop.tar                     from then on")]
pub(crate) struct ImportArgs {
    /// What to read: a tar file of `upstart export`, or a repository's folder
    #[arg(value_name = "DIR|FILE.tar")]
    from: PathBuf,
    /// The folder to write the repository to, or to add to
    #[arg(long, value_name = "DIR", default_value = "repository")]
    repository: PathBuf,
    /// The root to trust (`metadata/1.root.json` where the keys were made); needed the first time only. Get it on
    /// another way than the repository: whoever chooses the root chooses what is trusted
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
}

/// `upstart export`.
pub(crate) fn export(globals: &Globals, arguments: &ExportArgs) -> CommandOutcome {
    let to = &arguments.to;
    let opened = wait_for(open(globals, &arguments.repository))?;
    let is_archive = to.extension().is_some_and(|ending| ending == "tar");
    let writer = &opened.writer;
    match &opened.served {
        Some(served) => wait_for(export_served(served, to, is_archive))?,
        None if is_archive => wait_for(async { pack(writer, to).await.map_err(unsigned) })?,
        None => {
            let from = DirectoryTransport {
                path: writer.path().to_owned(),
            };
            take(writer.root(), &from, to)?;
        }
    }
    let catalogue = writer.trust().catalogue();
    let upgrades = catalogue.manifests().count();
    let answer =
        serde_json::json!({ "file": to, "system": writer.trust().system(), "upgrades": upgrades });
    let what = counted(upgrades, "upgrade or revision", "upgrades and revisions");
    let sentence = format!("{} holds {what}.", to.display());
    done(globals, &answer, &sentence)
}

/// Copies all of a server's repository; by way of a folder, where it becomes one file.
async fn export_served(
    served: &ServedRepository,
    to: &Path,
    is_archive: bool,
) -> anyhow::Result<()> {
    let no_folder = || "see to the disk, and to TMPDIR";
    let folder = tempfile::tempdir().advise("cannot make a temporary folder", no_folder())?;
    let place = if is_archive { folder.path() } else { to };
    let pinned = Verifier::pin(&place.join(TRUSTED_FILE), served.verifier.root());
    let mut verifier = pinned.map_err(|error| untrusted(&error))?;
    taken(&mut verifier, &served.client, place).await?;
    if is_archive {
        let writer = RepositoryWriter::open(place).await.map_err(unsigned)?;
        pack(&writer, to).await.map_err(unsigned)?;
    }
    Ok(())
}

/// Copies a repository into a folder that trusts its root of today.
fn take(root: &[u8], from: &DirectoryTransport, to: &Path) -> anyhow::Result<Mirrored> {
    let pinned = Verifier::pin(&to.join(TRUSTED_FILE), root);
    let mut verifier = pinned.map_err(|error| untrusted(&error))?;
    wait_for(taken(&mut verifier, from, to))
}

async fn taken(
    verifier: &mut Verifier,
    from: &dyn Transport,
    to: &Path,
) -> anyhow::Result<Mirrored> {
    let mirrored = mirror(verifier, from, to, jiff::Timestamp::now()).await;
    mirrored.map_err(|error| untrusted(&error))
}

/// `upstart import`.
pub(crate) fn import(globals: &Globals, arguments: &ImportArgs) -> CommandOutcome {
    let to = &arguments.repository;
    let from = &arguments.from;
    let transport: Box<dyn Transport> = if from.is_dir() {
        Box::new(DirectoryTransport { path: from.clone() })
    } else {
        let opened = ArchiveTransport::open(from).advise(
            format!("cannot read {}", from.display()),
            "name a tar file that `upstart export` wrote, or a repository's folder",
        );
        Box::new(opened?)
    };
    let state = to.join(TRUSTED_FILE);
    let is_first = !state.exists();
    let mut verifier = trusting(&state, arguments.root.as_deref())?;
    let mirrored = wait_for(taken(&mut verifier, &*transport, to));
    if is_first && mirrored.is_err() {
        // A root that did not fit is not to stay. If it does, the next import says of which system it is.
        let _ = std::fs::remove_file(&state);
    }
    let mirrored = mirrored?;
    let answer = serde_json::json!({
        "system": verifier.system(), "root": verifier.root_version(), "upgrades": mirrored.manifests,
        "artifacts": mirrored.artifacts, "copied": mirrored.copied,
    });
    let upgrades = counted(
        mirrored.manifests,
        "upgrade or revision",
        "upgrades and revisions",
    );
    let sentence = format!(
        "{} is verified: {upgrades} of system {}; copied: {} of {}.",
        to.display(),
        verifier.system(),
        mirrored.copied,
        counted(mirrored.artifacts, "artifact", "artifacts"),
    );
    done(globals, &answer, &sentence)
}

/// One who trusts what was trusted at the last import, or the root that is given now.
fn trusting(state: &Path, root: Option<&Path>) -> anyhow::Result<Verifier> {
    let verifier = match root {
        Some(root) => {
            let bytes = files::read(root).advise(
                format!("cannot read {}", root.display()),
                "give the first root of the system as `--root FILE`",
            )?;
            Verifier::pin(state, &bytes)
        }
        None if !state.exists() => {
            return Err(failure(
                "nothing is trusted here yet",
                "give the root that is to be trusted as `--root FILE`; get it on another way than the repository",
            ));
        }
        None => Verifier::open(state),
    };
    verifier.map_err(|error| untrusted(&error))
}
