//! Framing: any cut of a stream gives the same messages, what is sealed is read again, and a slow reference agrees. The
//! reference is the fuzz target's.

use model::bundle::{
    ByteOrder, Checksum, ChecksumKind, ChecksumPlace, Counts, Covers, Cut, Framing, LengthField,
};
use oracles::framing as oracle;
use proptest::prelude::*;
use std::sync::Arc;
use wire::framing::{Codec, FramingError};

/// A setup of the oracle's, and a stream made of frames of that framing, sometimes damaged.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let messages = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..6);
    let damage = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (any::<[u8; 8]>(), messages, damage, 0..4_usize).prop_map(
        |(setup, messages, damage, cut_off)| {
            let mut stream = setup.to_vec();
            if let Some(framing) = oracle::framing(&setup) {
                let codec = Codec::new(framing);
                let sealed = messages
                    .into_iter()
                    .filter_map(|message| codec.seal(message).ok());
                stream.extend(sealed.flat_map(|sealed| sealed.concat()));
            }
            if let Some((at, byte)) = damage {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            stream.truncate(stream.len().saturating_sub(cut_off).max(8));
            stream
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn any_cut_gives_the_messages_of_the_reference(input in stream()) {
        oracle::check(&input);
    }

    #[test]
    fn any_bytes_give_what_the_reference_says(input in prop::collection::vec(any::<u8>(), 0..200)) {
        oracle::check(&input);
    }
}

fn codec(cut: Cut, head_bytes: usize) -> Codec {
    Codec::new(Framing {
        cut,
        head_bytes,
        message_bytes_max: 1_000,
    })
}

fn length(offset: usize, bytes: usize, counts: Counts) -> LengthField {
    LengthField {
        offset,
        bytes,
        order: ByteOrder::Big,
        counts,
        header_bytes: offset + bytes,
        checksum: None,
    }
}

#[test]
fn a_header_of_nothing_but_a_length_is_not_part_of_the_message() {
    let codec = codec(Cut::Length(length(0, 4, Counts::Rest)), 8);
    let sealed = codec.seal(b"hello".to_vec()).expect("short");
    assert_eq!(sealed.concat(), b"\0\0\0\x05hello");
    assert_eq!(codec.open(&sealed.concat()).expect("whole"), 4..9);
}

#[test]
fn a_header_with_more_in_it_is_part_of_the_message_and_its_length_is_written_anew() {
    let codec = codec(Cut::Length(length(4, 2, Counts::All)), 8);
    let sealed = codec.seal(b"RCmb\xff\xffrest".to_vec()).expect("short");
    assert_eq!(sealed.concat(), b"RCmb\0\x0arest");
    let short = codec.seal(b"RCmb".to_vec());
    assert_eq!(
        short,
        Err(FramingError::NoHeader {
            length: 4,
            header: 6
        })
    );
}

#[test]
fn a_length_that_the_field_cannot_say_is_refused() {
    let codec = codec(Cut::Length(length(0, 1, Counts::Body)), 8);
    assert!(codec.seal(vec![0; 255]).is_ok());
    let error = codec.seal(vec![0; 256]).expect_err("nine bits");
    assert_eq!(error, FramingError::DoesNotFit { length: 256 });
    let error = codec.seal(vec![0; 1_000]).expect_err("with its header");
    assert!(matches!(
        error,
        FramingError::DoesNotFit { .. } | FramingError::TooLong { .. }
    ));
}

#[test]
fn checksums_are_those_of_the_catalogue() {
    // The catalogue's check values, of "123456789".
    for (kind, check) in [
        (ChecksumKind::Crc32, "cbf43926"),
        (ChecksumKind::Crc32c, "e3069283"),
        (ChecksumKind::Crc16Xmodem, "31c3"),
        (ChecksumKind::Crc64Redis, "e9c6d914c4b8d9ca"),
    ] {
        let mut field = length(0, 2, Counts::Rest);
        field.checksum = Some(Checksum {
            kind,
            place: ChecksumPlace::End,
            order: ByteOrder::Big,
            covers: Covers::Body,
        });
        let codec = Arc::new(codec(Cut::Length(field), 8));
        let sealed = codec.seal(b"123456789".to_vec()).expect("short");
        let written: String = sealed
            .after
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(written, check, "{kind:?}");
        let mut damaged = sealed.concat();
        damaged[3] ^= 1;
        assert_eq!(codec.open(&damaged), Err(FramingError::Checksum));
    }
}

#[test]
fn a_message_never_holds_what_would_end_it() {
    let codec = codec(Cut::Delimiter(b"\r\n".to_vec()), 8);
    assert_eq!(codec.seal(b"a\r\nb".to_vec()), Err(FramingError::Delimiter));
    assert_eq!(
        codec.seal(b"a\r".to_vec()).expect("whole").concat(),
        b"a\r\r\n"
    );
    let codec = overlapping();
    assert_eq!(codec.seal(b"ab".to_vec()), Err(FramingError::Delimiter));
}

/// A delimiter that overlaps with itself.
fn overlapping() -> Codec {
    codec(Cut::Delimiter(b"aba".to_vec()), 8)
}
