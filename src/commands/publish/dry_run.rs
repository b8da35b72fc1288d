//! `upstart publish --dry-run`: what would be uploaded, and what nodes would fetch.

use super::chunking::Chunked;
use super::earlier::EarlierUpgrade;
use super::upload::Upload;
use crate::commands::check::Proved;
use crate::commands::operate::done;
use crate::failure::CommandOutcome;
use crate::globals::Globals;
use crate::output::counted;
use chunks::{ChunkIndex, cost, is_worth_it, joined};
use model::ids::Version;
use model::manifest::{Digest, Manifest};
use serde::Serialize;
use std::collections::BTreeSet;

/// What publishing would do.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct DryRun {
    system: String,
    version: Version,
    /// The same is published already.
    unchanged: bool,
    upload: Moving,
    /// What nodes of the version before would fetch; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    fetch: Option<Fetching>,
    /// What a node that has nothing would fetch at most.
    whole_bytes: u64,
}

/// What would be uploaded.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Moving {
    artifacts: usize,
    bytes: u64,
    /// How many new chunks are in them.
    chunks: usize,
}

/// What a node would fetch.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Fetching {
    from: Version,
    bytes: u64,
}

/// Says what publishing would do; nothing is changed.
pub(super) fn report(
    globals: &Globals,
    proved: &Proved,
    earlier: &[EarlierUpgrade],
    chunked: Option<&Chunked>,
    missing: &[Upload],
) -> CommandOutcome {
    let upgrade = &proved.checked.upgrade;
    let unchanged = chunked.is_none();
    let own = earlier.iter().find(|it| it.version == upgrade.version);
    let before = earlier.iter().find(|it| it.version == upgrade.from);
    let (manifest, index) = match (chunked, own) {
        (Some(chunked), _) => (&chunked.manifest, Some(&chunked.index)),
        (None, Some(own)) => (&own.manifest, Some(&own.index)),
        (None, None) => (&proved.checked.manifest, None),
    };
    let empty = ChunkIndex::default();
    let index = index.unwrap_or(&empty);
    let found = DryRun {
        system: upgrade.system.clone(),
        version: upgrade.version,
        unchanged,
        upload: Moving {
            artifacts: missing.len(),
            bytes: missing.iter().map(|file| file.size).sum(),
            chunks: chunked.map_or(0, |chunked| chunked.new_chunks),
        },
        fetch: before.map(|before| Fetching {
            from: before.version,
            bytes: fetched(manifest, index, &before.manifest, &before.index),
        }),
        whole_bytes: manifest.files.iter().map(|file| file.size).sum(),
    };
    done(globals, &found, &sentences(&found))
}

/// What a node fetches that has all of another version: whole files, and of large ones the chunks that are not in those of the other.
fn fetched(
    manifest: &Manifest,
    index: &ChunkIndex,
    before: &Manifest,
    before_index: &ChunkIndex,
) -> u64 {
    let here: BTreeSet<Digest> = before.files.iter().map(|file| file.sha256).collect();
    let contents = before_index.contents.iter();
    let chunks = contents.flat_map(|content| &content.chunks);
    let chunks_here: BTreeSet<Digest> = chunks.map(|chunk| chunk.digest).collect();
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for file in &manifest.files {
        if here.contains(&file.sha256) || !seen.insert(file.sha256) {
            continue;
        }
        let ranges = index.content(file.sha256).map(|content| {
            let chunks = content.chunks.iter();
            let missing = chunks.filter(|chunk| !chunks_here.contains(&chunk.digest));
            joined(missing.copied().collect())
        });
        bytes += match ranges {
            Some(ranges) if is_worth_it(&ranges, file.size) => cost(&ranges),
            _ => file.size,
        };
    }
    bytes
}

fn sentences(found: &DryRun) -> String {
    let DryRun {
        system,
        version,
        unchanged,
        upload,
        fetch,
        whole_bytes,
    } = found;
    let mut text =
        format!("Nothing was published: this is a dry run of {system} version {version}.\n");
    if *unchanged {
        text.push_str("The same is published already.\n");
    }
    text.push_str(&format!(
        "It would upload {} with {}: {}.",
        counted(upload.artifacts, "artifact", "artifacts"),
        counted(upload.chunks, "new chunk", "new chunks"),
        size(upload.bytes)
    ));
    let whole = size(*whole_bytes);
    match fetch {
        Some(Fetching { from, bytes }) => text.push_str(&format!(
            "\nA node at version {from} would fetch {}; one that has nothing, at most {whole}.",
            size(*bytes)
        )),
        None => text.push_str(&format!("\nA node would fetch at most {whole}.")),
    }
    text
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    let tenths = |unit: u64| bytes.saturating_mul(10) / unit;
    let shown = |tenths: u64, unit: &str| format!("{}.{} {unit}", tenths / 10, tenths % 10);
    match bytes {
        0..10_240 => counted(
            usize::try_from(bytes).unwrap_or(usize::MAX),
            "byte",
            "bytes",
        ),
        10_240..10_485_760 => shown(tenths(1 << 10), "KiB"),
        10_485_760..10_737_418_240 => shown(tenths(1 << 20), "MiB"),
        _ => shown(tenths(1 << 30), "GiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_a_unit_that_fits() {
        assert_eq!(size(1), "1 byte");
        assert_eq!(size(10_239), "10239 bytes");
        assert_eq!(size(10_240), "10.0 KiB");
        assert_eq!(size((20 << 20) + (1 << 19)), "20.5 MiB");
        assert_eq!(size(12 << 30), "12.0 GiB");
    }
}
