//! The journal's format: a header, then frames of length, checksum, sequence number and JSON; no I/O.
//!
//! The file is preallocated, so zeros follow the last frame. Records are made durable one at a time, so at most the last
//! frame can be torn by a crash: its action was never begun, and it is dropped. A frame that is damaged while
//! readable ones follow it is corruption, and nothing is guessed.

use serde::{Serialize, de::DeserializeOwned};

/// What a journal begins with: its name and the number of the format.
pub const HEADER: &[u8; 16] = b"upstart journal1";

/// The longest record, JSON bytes: a hundred times what one takes, small against the file.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Length (u32), CRC32C (u32), sequence number (u64), little endian.
const FRAME_HEAD_BYTES: usize = 16;

/// What a journal's bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<R> {
    /// The records, oldest first.
    pub records: Vec<R>,
    /// The checksum of each record's frame: with its number in it, no two are alike.
    pub checksums: Vec<u32>,
    /// Where the next frame goes.
    pub end: usize,
    /// A torn frame lies at `end`: overwrite what follows with zeros before the next append.
    pub torn: bool,
}

/// What is wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It does not begin as a journal.
    #[error(
        "not a journal of this format: it must begin with {:?}",
        String::from_utf8_lossy(HEADER)
    )]
    Header,
    /// A frame is damaged although intact ones follow it.
    #[error(
        "the journal is corrupt at byte {offset}: record {sequence} is unreadable but record {following} after it is intact"
    )]
    Corrupt {
        /// Where the damaged frame begins.
        offset: usize,
        /// The record that should be there.
        sequence: u64,
        /// The intact one that was found.
        following: u64,
    },
    /// An intact frame holds something else than a record, or one out of order: a newer program wrote it.
    #[error(
        "the journal's record {sequence} at byte {offset} is intact but is no record known here: {problem}"
    )]
    Unknown {
        /// Where the frame begins.
        offset: usize,
        /// Its number.
        sequence: u64,
        /// What is wrong.
        problem: String,
    },
    /// A record that is too long to be written.
    #[error("a record of {bytes} bytes; at most {RECORD_BYTES_MAX} are written")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A record that does not become JSON.
    #[error("a record cannot be written")]
    Write(#[source] serde_json::Error),
}

/// The frame of one record; `sequence` counts from 0 in each file.
///
/// # Errors
/// The record is too long.
pub fn encode<R: Serialize>(sequence: u64, record: &R) -> Result<Vec<u8>, JournalError> {
    let payload = serde_json::to_vec(record).map_err(JournalError::Write)?;
    if payload.len() > RECORD_BYTES_MAX {
        let bytes = payload.len();
        return Err(JournalError::TooLong { bytes });
    }
    let length = (payload.len() as u32).to_le_bytes();
    let mut frame = Vec::with_capacity(FRAME_HEAD_BYTES + payload.len());
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&sequence.to_le_bytes());
    frame.extend_from_slice(&payload);
    let checksum = checksum(&frame).to_le_bytes();
    frame[4..8].copy_from_slice(&checksum);
    Ok(frame)
}

/// The checksum that stands in a frame of [`encode`].
pub fn checksum_of(frame: &[u8]) -> u32 {
    let stated = frame.get(4..8).and_then(|bytes| bytes.try_into().ok());
    stated.map_or(0, u32::from_le_bytes)
}

/// Reads a whole journal file.
///
/// # Errors
/// It is no journal, it is corrupt before its last record, or it holds what this program does not know.
pub fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Result<Decoded<R>, JournalError> {
    if !bytes.starts_with(HEADER) {
        return Err(JournalError::Header);
    }
    let (mut records, mut checksums) = (Vec::new(), Vec::new());
    let mut end = HEADER.len();
    while let Some(frame) = frame_at(bytes, end) {
        let expected = records.len() as u64;
        let unknown = |problem: String| JournalError::Unknown {
            offset: end,
            sequence: frame.sequence,
            problem,
        };
        if frame.sequence != expected {
            return Err(unknown(format!("record {expected} was expected")));
        }
        let record = serde_json::from_slice(frame.payload);
        records.push(record.map_err(|error| unknown(error.to_string()))?);
        checksums.push(frame.checksum);
        end += FRAME_HEAD_BYTES + frame.payload.len();
    }
    let rest = bytes.get(end..).unwrap_or_default();
    let torn = rest.iter().any(|byte| *byte != 0);
    if torn && let Some(following) = intact_after(bytes, end) {
        return Err(JournalError::Corrupt {
            offset: end,
            sequence: records.len() as u64,
            following,
        });
    }
    Ok(Decoded {
        records,
        checksums,
        end,
        torn,
    })
}

struct JournalFrame<'a> {
    sequence: u64,
    checksum: u32,
    payload: &'a [u8],
}

/// The intact frame that begins at `offset`.
fn frame_at(bytes: &[u8], offset: usize) -> Option<JournalFrame<'_>> {
    let head = bytes.get(offset..offset.checked_add(FRAME_HEAD_BYTES)?)?;
    let length = u32::from_le_bytes(head[0..4].try_into().ok()?) as usize;
    if length == 0 || length > RECORD_BYTES_MAX {
        return None;
    }
    let frame = bytes.get(offset..offset + FRAME_HEAD_BYTES + length)?;
    let stated = u32::from_le_bytes(head[4..8].try_into().ok()?);
    (stated == checksum(frame)).then_some(JournalFrame {
        sequence: u64::from_le_bytes(head[8..16].try_into().ok()?),
        checksum: stated,
        payload: &frame[FRAME_HEAD_BYTES..],
    })
}

/// The number of an intact frame anywhere after `offset`: a damaged length hides where the next frame begins.
fn intact_after(bytes: &[u8], offset: usize) -> Option<u64> {
    (offset + 1..bytes.len()).find_map(|at| frame_at(bytes, at).map(|frame| frame.sequence))
}

/// Over everything but the checksum's own place, the length included.
fn checksum(frame: &[u8]) -> u32 {
    let mut covered = Vec::with_capacity(frame.len());
    covered.extend_from_slice(&frame[0..4]);
    covered.extend_from_slice(&frame[8..]);
    label::crc32c(&covered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn journal(records: &[String]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for (sequence, record) in records.iter().enumerate() {
            bytes.extend(encode(sequence as u64, record).expect("encodes"));
        }
        bytes
    }

    fn three() -> Vec<String> {
        vec!["one".to_owned(), "two".to_owned(), "three".to_owned()]
    }

    #[test]
    fn an_empty_preallocated_journal_has_no_records() {
        let mut bytes = HEADER.to_vec();
        bytes.resize(4096, 0);
        let decoded = decode::<String>(&bytes).expect("decodes");
        assert_eq!(
            (decoded.records.len(), decoded.end, decoded.torn),
            (0, 16, false)
        );
    }

    #[test]
    fn damage_before_the_last_record_names_its_offset() {
        let whole = journal(&three());
        let second = HEADER.len() + FRAME_HEAD_BYTES + "\"one\"".len();
        for damaged in second..second + FRAME_HEAD_BYTES + 5 {
            let mut bytes = whole.clone();
            bytes[damaged] ^= 0xff;
            bytes.resize(8192, 0);
            match decode::<String>(&bytes) {
                Err(JournalError::Corrupt {
                    offset,
                    sequence: 1,
                    following: 2,
                }) => {
                    assert_eq!(offset, second);
                }
                other => panic!("{other:?} after damage at {damaged}"),
            }
        }
    }

    #[test]
    fn another_file_is_refused() {
        assert!(matches!(
            decode::<String>(b"hello"),
            Err(JournalError::Header)
        ));
        assert!(matches!(decode::<String>(b""), Err(JournalError::Header)));
    }

    #[test]
    fn an_intact_record_that_is_not_known_is_no_torn_tail() {
        let bytes = journal(&three());
        assert!(matches!(
            decode::<u32>(&bytes),
            Err(JournalError::Unknown {
                sequence: 0,
                offset: 16,
                ..
            })
        ));
    }

    #[test]
    fn a_record_that_is_too_long_is_refused() {
        let long = "x".repeat(RECORD_BYTES_MAX);
        assert!(matches!(
            encode(0, &long),
            Err(JournalError::TooLong { .. })
        ));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(records in prop::collection::vec(".{0,80}", 0..12), zeros in 0usize..300) {
            let mut bytes = journal(&records);
            let end = bytes.len();
            bytes.resize(end + zeros, 0);
            let decoded = decode::<String>(&bytes).expect("decodes");
            prop_assert_eq!((decoded.records, decoded.end, decoded.torn), (records, end, false));
        }

        #[test]
        fn a_torn_tail_loses_only_the_last_record(
            records in prop::collection::vec(".{0,80}", 1..8),
            kept in 0.0f64..1.0,
        ) {
            let whole = journal(&records);
            let before = journal(&records[..records.len() - 1]).len();
            let cut = before + ((whole.len() - before) as f64 * kept) as usize;
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(whole.len() + 100, 0);
            let decoded = decode::<String>(&bytes).expect("decodes");
            prop_assert_eq!(&decoded.records[..], &records[..records.len() - 1]);
            prop_assert_eq!(decoded.end, before);
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut with_header = HEADER.to_vec();
            with_header.extend(bytes);
            let _ = decode::<String>(&with_header);
        }
    }
}
