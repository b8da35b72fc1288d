//! Where content is cut, for ever: publishers and nodes of all releases must cut alike, or nodes find nothing of what they have.

use chunks::{CHUNK_BYTES_MAX, ChunkCutter};
use model::manifest::Digest;

/// Bytes that look random and are the same everywhere (xorshift64*, S. Vigna 2016).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn cut(content: &[u8]) -> Vec<Vec<u8>> {
    let chunks = ChunkCutter::new(content);
    chunks.map(|chunk| chunk.expect("read")).collect()
}

fn lengths(content: &[u8]) -> Vec<usize> {
    cut(content).iter().map(Vec::len).collect()
}

#[test]
fn content_is_cut_where_it_was_always_cut() {
    assert_eq!(
        lengths(&noise(1, 1 << 20)),
        [
            107_883, 65_467, 49_201, 96_571, 43_828, 44_060, 84_095, 71_209, 57_833, 67_767,
            78_336, 83_778, 70_347, 128_201
        ]
    );
    let lines = (0..60_000_u32).map(|number| format!("line {number}\n"));
    let text = lines.collect::<String>();
    assert_eq!(
        lengths(text.as_bytes()),
        [
            107_116, 43_311, 38_302, 88_683, 85_024, 51_794, 42_016, 140_603, 52_041
        ]
    );
    // All cuts of eight MiB in one digest.
    let chunks = cut(&noise(7, 8 << 20));
    let digests: Vec<u8> = chunks.iter().flat_map(|it| Digest::of(it).0).collect();
    assert_eq!(chunks.len(), 113);
    assert_eq!(
        Digest::of(&digests).to_string(),
        "bda7e4641033ebbf4288bae85482ed263f5c82b222a979d2269c0c60b6c6e6e7"
    );
}

#[test]
fn nothing_and_little_are_cut_and_no_chunk_is_too_long() {
    assert_eq!(lengths(b""), [0; 0]);
    assert_eq!(lengths(b"little"), [6]);
    let zeros = vec![0; 1 << 20];
    assert_eq!(lengths(&zeros), [CHUNK_BYTES_MAX; 4]);
}

#[test]
fn an_insertion_moves_the_cuts_beside_it_and_no_others() {
    let old = noise(3, 4 << 20);
    let mut new = old.clone();
    new.splice(2_000_000..2_000_000, *b"inserted");
    let (before, after) = (cut(&old), cut(&new));
    let fresh = after.iter().filter(|chunk| !before.contains(chunk)).count();
    assert!((1..=2).contains(&fresh), "{fresh} of {}", after.len());
}
