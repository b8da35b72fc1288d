//! Indexes and packs: what was written comes back, and whatever else comes is refused without harm.

use chunks::{
    CHUNK_BYTES_MAX, ChunkError, ChunkIndex, ChunkPlace, ContentForm, IndexedContent, PackFile,
    PackRange, Packer, RangeReader, cost, is_worth_it, joined, shrinks, unpacked,
};
use model::manifest::Digest;
use proptest::collection::vec;
use proptest::prelude::*;

/// A pack of these chunks, with something else between them, and where each of them lies.
fn pack(chunks: &[Vec<u8>], gap: usize) -> (Vec<u8>, Vec<ChunkPlace>) {
    let mut packer = Packer::new().expect("a packer");
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for chunk in chunks {
        let stored = packer.packed(chunk).expect("packed");
        places.push(ChunkPlace {
            digest: Digest::of(chunk),
            length: chunk.len() as u32,
            pack: 0,
            offset: bytes.len() as u64,
            stored: stored.len() as u32,
        });
        bytes.extend(stored);
        bytes.extend(vec![b'-'; gap]);
    }
    (bytes, places)
}

/// An index of one file that consists of these chunks, in a pack of its own.
fn index(chunks: &[Vec<u8>], form: ContentForm) -> ChunkIndex {
    let (pack, places) = pack(chunks, 3);
    let content = Digest::of(&chunks.concat());
    let file = match form {
        ContentForm::Plain => content,
        ContentForm::Gzip => Digest::of(b"the archive"),
    };
    ChunkIndex {
        packs: vec![PackFile {
            digest: Digest::of(&pack),
            size: pack.len() as u64,
        }],
        contents: vec![IndexedContent {
            file,
            form,
            content,
            length: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            chunks: places,
        }],
    }
}

fn sound() -> ChunkIndex {
    index(&[b"one".to_vec(), vec![7; 5000]], ContentForm::Plain)
}

fn told(change: impl FnOnce(&mut ChunkIndex)) -> String {
    let mut index = sound();
    change(&mut index);
    let parsed = ChunkIndex::parse(&index.bytes());
    parsed.expect_err("refused").to_string()
}

/// What ranges bring from a pack that comes in pieces of this size.
fn read(pack: &[u8], ranges: Vec<PackRange>, piece: usize) -> Result<Vec<Vec<u8>>, ChunkError> {
    let mut contents = Vec::new();
    for range in ranges {
        let part = &pack[range.first as usize..(range.first + range.count) as usize];
        let mut reader = RangeReader::new(range);
        for mut bytes in part.chunks(piece) {
            while let Some((_, content)) = reader.next(&mut bytes)? {
                contents.push(content);
            }
        }
        assert!(reader.is_done());
    }
    Ok(contents)
}

#[test]
fn an_index_that_lies_is_refused_with_what_is_wrong() {
    assert!(ChunkIndex::parse(&sound().bytes()).is_ok());
    let chunk = |index: &mut ChunkIndex, change: fn(&mut ChunkPlace)| {
        change(&mut index.contents[0].chunks[1]);
    };
    let cases: [(String, &str); 9] = [
        (
            told(|it| chunk(it, |chunk| chunk.length = 0)),
            "length that none has",
        ),
        (
            told(|it| chunk(it, |chunk| chunk.length = CHUNK_BYTES_MAX as u32 + 1)),
            "length that none has",
        ),
        (
            told(|it| chunk(it, |chunk| chunk.stored = 5001)),
            "more in its pack",
        ),
        (
            told(|it| chunk(it, |chunk| chunk.pack = 1)),
            "pack is not listed",
        ),
        (
            told(|it| chunk(it, |chunk| chunk.offset = u64::MAX)),
            "behind the end",
        ),
        (told(|it| it.contents[0].length += 1), "not as long"),
        (told(|it| it.contents[0].chunks.clear()), "not as long"),
        (
            told(|it| it.contents[0].content = Digest::of(b"x")),
            "another digest than itself",
        ),
        (
            told(|it| it.contents.push(it.contents[0].clone())),
            "not sorted",
        ),
    ];
    for (told, problem) in cases {
        assert!(told.contains(problem), "{told}: {problem}");
    }
}

#[test]
fn an_index_of_another_format_or_length_is_refused() {
    let bytes = sound().bytes();
    let mut other = bytes.clone();
    other[7] = b'2';
    assert_eq!(ChunkIndex::parse(&other), Err(ChunkError::Format));
    let longer = [bytes.as_slice(), b"x"].concat();
    assert_eq!(ChunkIndex::parse(&longer), Err(ChunkError::TooLong(1)));
    for end in 0..bytes.len() {
        assert!(ChunkIndex::parse(&bytes[..end]).is_err(), "{end}");
    }
    // A number that would take gigabytes takes nothing.
    let mut many = bytes;
    many[8..12].copy_from_slice(&4096_u32.to_le_bytes());
    assert_eq!(ChunkIndex::parse(&many), Err(ChunkError::CutOff));
    many[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(ChunkIndex::parse(&many), Err(ChunkError::TooMany));
}

#[test]
fn neighbours_are_read_with_one_request_and_each_chunk_once() {
    let place = |digest: u8, pack, offset, stored| ChunkPlace {
        digest: Digest([digest; 32]),
        length: stored,
        pack,
        offset,
        stored,
    };
    let chunks = vec![
        place(4, 1, 0, 10),
        place(2, 0, 110, 10),
        place(1, 0, 100, 10),
        place(3, 0, 1_000_000, 10),
        place(1, 0, 100, 10),
    ];
    let ranges = joined(chunks);
    let found: Vec<_> = (ranges.iter())
        .map(|range| (range.pack, range.first, range.count, range.chunks.len()))
        .collect();
    assert_eq!(
        found,
        [(0, 100, 20, 2), (0, 1_000_000, 10, 1), (1, 0, 10, 1)]
    );
    assert!(is_worth_it(&ranges, 1 << 20) && !is_worth_it(&ranges, cost(&ranges)));
    assert!(is_worth_it(&[], 1 << 20));
}

#[test]
fn what_does_not_shrink_lies_in_a_pack_as_it_is() {
    let noise: Vec<u8> = (0..64_u32)
        .flat_map(|n| Digest::of(&n.to_le_bytes()).0)
        .collect();
    assert!(!shrinks(&noise).expect("packed"));
    assert!(shrinks(&[7; 1000]).expect("packed"));
    let (bytes, places) = pack(std::slice::from_ref(&noise), 0);
    assert_eq!((bytes.len(), places[0].stored), (2048, 2048));
    assert_eq!(unpacked(bytes, &places[0]), Ok(noise));
}

proptest! {
    #[test]
    fn an_index_comes_back(chunks in vec(vec(any::<u8>(), 1..2000), 1..20), gzip: bool) {
        let form = if gzip { ContentForm::Gzip } else { ContentForm::Plain };
        let index = index(&chunks, form);
        let parsed = ChunkIndex::parse(&index.bytes()).expect("sound");
        prop_assert_eq!(parsed.content(index.contents[0].file), Some(&index.contents[0]));
        prop_assert_eq!(parsed, index);
    }

    #[test]
    fn any_bytes_are_an_index_or_refused(bytes in vec(any::<u8>(), 0..500)) {
        let with_magic = [b"UPCHUNK1", bytes.as_slice()].concat();
        for bytes in [bytes, with_magic] {
            if let Ok(index) = ChunkIndex::parse(&bytes) {
                prop_assert_eq!(index.bytes(), bytes);
            }
        }
    }

    #[test]
    fn a_changed_index_is_one_as_it_is_written_or_refused(at: proptest::sample::Index, to: u8) {
        let mut bytes = sound().bytes();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(index) = ChunkIndex::parse(&bytes) {
            prop_assert_eq!(index.bytes(), bytes);
        }
    }

    #[test]
    fn chunks_come_back_from_packs_however_they_come(
        chunks in vec(vec(0_u8..4, 1..3000), 1..20),
        gap in 0_usize..100,
        piece in 1_usize..5000,
    ) {
        let (bytes, places) = pack(&chunks, gap);
        let mut expected = chunks;
        expected.sort();
        expected.dedup();
        let mut found = read(&bytes, joined(places), piece).expect("sound");
        found.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_damaged_pack_gives_no_chunk_that_is_not_one(
        chunks in vec(vec(0_u8..4, 1..3000), 1..5),
        at: proptest::sample::Index,
        flipped in 1_u8..,
    ) {
        let (mut bytes, places) = pack(&chunks, 0);
        let at = at.index(bytes.len());
        bytes[at] ^= flipped;
        match read(&bytes, joined(places), 1000) {
            // Bytes of a frame that say nothing, or a chunk that is there twice.
            Ok(found) => prop_assert!(found.iter().all(|chunk| chunks.contains(chunk))),
            Err(error) => prop_assert!(matches!(error, ChunkError::Altered { .. }), "{error}"),
        }
    }

    #[test]
    fn any_bytes_are_a_chunk_or_refused(stored in vec(any::<u8>(), 1..300), length in 1_u32..100_000) {
        let chunk = ChunkPlace {
            digest: Digest::of(b"a chunk"),
            length,
            pack: 0,
            offset: 0,
            stored: stored.len() as u32,
        };
        prop_assert!(unpacked(stored, &chunk).is_err());
    }
}
