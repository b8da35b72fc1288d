//! Checksums of frames.

use crc::{CRC_16_XMODEM, CRC_32_ISCSI, CRC_32_ISO_HDLC, CRC_64_REDIS, Crc, Table};
use model::bundle::{ByteOrder, Checksum, ChecksumKind, ChecksumPlace, Covers, LengthField};

static CRC_16: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);
static CRC_32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);
static CRC_32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
static CRC_64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The most significant byte of a number of `bytes` bytes is the first or the last of these.
pub(super) fn write_number(to: &mut [u8], value: u64, order: ByteOrder) {
    let width = to.len();
    match order {
        ByteOrder::Big => to.copy_from_slice(&value.to_be_bytes()[8 - width..]),
        ByteOrder::Little => to.copy_from_slice(&value.to_le_bytes()[..width]),
    }
}

/// Reads a number of up to 8 bytes.
pub(super) fn read_number(from: &[u8], order: ByteOrder) -> u64 {
    let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    match order {
        ByteOrder::Big => from.iter().fold(0, add),
        ByteOrder::Little => from.iter().rev().fold(0, add),
    }
}

/// The checksum of a frame that comes in pieces.
pub(super) fn of_frame(field: &LengthField, checksum: &Checksum, frame: &[&[u8]]) -> u64 {
    match checksum.kind {
        ChecksumKind::Crc16Xmodem => {
            let mut digest = CRC_16.digest();
            covered(field, checksum, frame, |bytes| digest.update(bytes));
            u64::from(digest.finalize())
        }
        ChecksumKind::Crc32 => of_frame_32(&CRC_32, field, checksum, frame),
        ChecksumKind::Crc32c => of_frame_32(&CRC_32C, field, checksum, frame),
        ChecksumKind::Crc64Redis => {
            let mut digest = CRC_64.digest();
            covered(field, checksum, frame, |bytes| digest.update(bytes));
            digest.finalize()
        }
    }
}

fn of_frame_32(
    crc: &'static Crc<u32, Table<16>>,
    field: &LengthField,
    checksum: &Checksum,
    frame: &[&[u8]],
) -> u64 {
    let mut digest = crc.digest();
    covered(field, checksum, frame, |bytes| digest.update(bytes));
    u64::from(digest.finalize())
}

/// Walks over what a checksum is computed of.
fn covered(
    field: &LengthField,
    checksum: &Checksum,
    frame: &[&[u8]],
    mut update: impl FnMut(&[u8]),
) {
    let own = match checksum.place {
        ChecksumPlace::Header(at) => at..at + checksum.kind.bytes(),
        ChecksumPlace::End => 0..0,
    };
    let length: usize = frame.iter().map(|piece| piece.len()).sum();
    let end = length - field.trailer_bytes();
    let begin = match checksum.covers {
        Covers::All => 0,
        Covers::Body => field.header_bytes,
    };
    let mut at = 0;
    for piece in frame {
        let mut rest = *piece;
        while !rest.is_empty() {
            // Up to the next place where something changes.
            let next = [begin, own.start, own.end, end, at + rest.len()]
                .into_iter()
                .filter(|place| *place > at)
                .min()
                .unwrap_or(at + rest.len());
            let (now, later) = rest.split_at((next - at).min(rest.len()));
            if own.contains(&at) && at >= begin {
                update(&[0; 8][..now.len()]);
            } else if at >= begin && at < end {
                update(now);
            }
            at += now.len();
            rest = later;
        }
    }
}
