//! `[class.NAME.service.NAME.framing]`: where messages end.

use crate::bundle::reader::{KeyTable, Located};
use crate::bundle::{
    ByteOrder, Checksum, ChecksumKind, ChecksumPlace, Counts, Covers, Cut, DELIMITER_BYTES_MAX,
    Framing, HEAD_BYTES, HEAD_BYTES_MAX, LengthField, MESSAGE_BYTES_MAX, Protocol,
};
use toml::de::DeValue;

/// The largest `message_bytes_max`, in bytes: a longer message is a transfer of its own.
const LARGEST_MESSAGE: u64 = 1 << 40;

/// Each key of the table that not every framing has, and the protocol that has it.
const KEYS: [(&str, Protocol, &str); 4] = [
    ("length", Protocol::Framed, "framed"),
    ("header_bytes", Protocol::Framed, "framed"),
    ("checksum", Protocol::Framed, "framed"),
    ("delimiter", Protocol::Lines, "lines"),
];

/// The framing of a service; none where its traffic is no stream of messages.
pub(super) fn framing(service: &KeyTable<'_>, protocol: Option<Protocol>) -> Option<Framing> {
    let table = service.table("framing");
    let protocol = protocol?;
    if matches!(protocol, Protocol::Http | Protocol::Resp) {
        if let Some(place) = service.place("framing") {
            let problem = "this protocol says by itself where a message ends";
            let help = "delete this table, or write `protocol = \"framed\"`, \"lines\", \"netstring\" or \"raw\"";
            service.source().wrong(&place, problem, help);
        }
        return (protocol == Protocol::Resp).then(|| plain(protocol));
    }
    let Some(table) = table else {
        if protocol == Protocol::Framed && !service.has("framing") {
            let help = "write where a frame has its length: `framing = { length = { offset = 0, bytes = 4 } }`";
            service.missing("framing", help);
        }
        return Some(plain(protocol));
    };
    refuse_others(&table, protocol);
    let cut = cut(&table, protocol);
    let framing = cut.map(|cut| {
        let head_bytes = head_bytes(&table, &cut);
        let most = table.number("message_bytes_max", 1..=LARGEST_MESSAGE, " of bytes");
        Framing {
            cut,
            head_bytes,
            message_bytes_max: most.map_or(MESSAGE_BYTES_MAX, |at| at.value),
        }
    });
    // Keys that were not asked for above are known all the same.
    for key in [
        "length",
        "header_bytes",
        "checksum",
        "delimiter",
        "head_bytes",
        "message_bytes_max",
    ] {
        table.has(key);
    }
    table.finish();
    framing.or_else(|| Some(plain(protocol)))
}

/// What holds where nothing is said.
fn plain(protocol: Protocol) -> Framing {
    let cut = match protocol {
        Protocol::Lines => Cut::Delimiter(b"\n".to_vec()),
        Protocol::Netstring => Cut::Netstring,
        Protocol::Resp => Cut::Resp,
        _ => Cut::Raw,
    };
    Framing {
        cut,
        head_bytes: HEAD_BYTES,
        message_bytes_max: MESSAGE_BYTES_MAX,
    }
}

fn refuse_others(table: &KeyTable<'_>, protocol: Protocol) {
    for (key, owner, name) in KEYS {
        if owner != protocol
            && let Some(place) = table.place(key)
        {
            let problem = format!("only `protocol = \"{name}\"` has this");
            table.source().wrong(&place, problem, "delete this key");
        }
    }
}

/// Where messages end; none where it is written wrongly.
fn cut(table: &KeyTable<'_>, protocol: Protocol) -> Option<Cut> {
    match protocol {
        Protocol::Framed => length(table).map(Cut::Length),
        Protocol::Lines => Some(delimiter(table)),
        Protocol::Netstring => Some(Cut::Netstring),
        _ => Some(Cut::Raw),
    }
}

fn delimiter(table: &KeyTable<'_>) -> Cut {
    let Some(at) = table.string("delimiter") else {
        return Cut::Delimiter(b"\n".to_vec());
    };
    if !(1..=DELIMITER_BYTES_MAX).contains(&at.value.len()) {
        let problem = format!(
            "has {} bytes; expected 1 to {DELIMITER_BYTES_MAX}",
            at.value.len()
        );
        table.source().wrong(&at, problem, "");
    }
    Cut::Delimiter(at.value.into_bytes())
}

const ORDERS: [(&str, ByteOrder); 2] = [("big", ByteOrder::Big), ("little", ByteOrder::Little)];

fn length(table: &KeyTable<'_>) -> Option<LengthField> {
    let Some(inner) = table.table("length") else {
        if !table.has("length") {
            table.missing("length", "write `length = { offset = 0, bytes = 4 }`");
        }
        return None;
    };
    let most = HEAD_BYTES_MAX as u64;
    let offset = small(inner.number("offset", 0..=most - 8, " of bytes"));
    let bytes = inner.number("bytes", 1..=8, " of bytes");
    if bytes.is_none() && !inner.has("bytes") {
        inner.missing("bytes", "write how wide the field is, 1 to 8");
    }
    let order = inner.word("order", &ORDERS);
    let counts = inner.word(
        "counts",
        &[
            ("all", Counts::All),
            ("rest", Counts::Rest),
            ("body", Counts::Body),
        ],
    );
    if counts.is_none() && !inner.has("counts") {
        let help = "write \"all\" (the whole frame), \"rest\" (what follows the field) or \"body\" (what follows the header)";
        inner.missing("counts", help);
    }
    inner.finish();
    let (offset, bytes) = (offset.unwrap_or(0), small(bytes)?);
    let mut field = LengthField {
        offset,
        bytes,
        order: order.unwrap_or(ByteOrder::Big),
        counts: counts?,
        header_bytes: offset + bytes,
        checksum: None,
    };
    if let Some(at) = table.number("header_bytes", 1..=most, " of bytes") {
        if at.value < field.header_bytes as u64 {
            let problem = format!(
                "is {}, but the length field ends after {} bytes",
                at.value, field.header_bytes
            );
            table
                .source()
                .wrong(&at, problem, "the header includes the field");
        }
        field.header_bytes = field.header_bytes.max(small(Some(at)).unwrap_or(0));
    }
    field.checksum = checksum(table, &mut field.header_bytes, offset..offset + bytes);
    Some(field)
}

/// The checksum; a header that nothing else is said of reaches to its end.
fn checksum(
    table: &KeyTable<'_>,
    header_bytes: &mut usize,
    length: std::ops::Range<usize>,
) -> Option<Checksum> {
    let inner = table.table("checksum")?;
    let kinds = [
        ("crc32", ChecksumKind::Crc32),
        ("crc32c", ChecksumKind::Crc32c),
        ("crc16-xmodem", ChecksumKind::Crc16Xmodem),
        ("crc64-redis", ChecksumKind::Crc64Redis),
    ];
    let kind = inner.word("kind", &kinds);
    if kind.is_none() && !inner.has("kind") {
        inner.missing(
            "kind",
            "write \"crc32\", \"crc32c\", \"crc16-xmodem\" or \"crc64-redis\"",
        );
    }
    let place = match inner.value("at") {
        Some(Located {
            value: DeValue::String(_),
            ..
        }) => inner.word("at", &[("end", ChecksumPlace::End)]),
        Some(_) => small(inner.number("at", 0..=HEAD_BYTES_MAX as u64 - 8, " of bytes"))
            .map(ChecksumPlace::Header),
        None => {
            inner.missing(
                "at",
                "write \"end\", or how many bytes from the frame's beginning",
            );
            None
        }
    };
    let order = inner.word("order", &ORDERS).unwrap_or(ByteOrder::Big);
    let covers = inner.word("covers", &[("all", Covers::All), ("body", Covers::Body)]);
    if let (Some(kind), Some(ChecksumPlace::Header(at))) = (kind, place) {
        let field = at..at + kind.bytes();
        let place = inner.place("at").unwrap_or_else(|| inner.here());
        if field.start < length.end && length.start < field.end {
            let problem = "the checksum lies on the length field";
            inner.source().wrong(&place, problem, "");
        }
        if table.has("header_bytes") && field.end > *header_bytes {
            let problem = format!(
                "the checksum ends after {} bytes, but the header has {header_bytes}",
                field.end
            );
            inner
                .source()
                .wrong(&place, problem, "write a larger `header_bytes`, or \"end\"");
        }
        *header_bytes = (*header_bytes).max(field.end);
    }
    inner.finish();
    Some(Checksum {
        kind: kind?,
        place: place?,
        order,
        covers: covers.unwrap_or(Covers::All),
    })
}

/// A number that was checked to be small.
fn small(at: Option<Located<u64>>) -> Option<usize> {
    at.and_then(|at| usize::try_from(at.value).ok())
}

fn head_bytes(table: &KeyTable<'_>, cut: &Cut) -> usize {
    // An adapter that gives a message another head must be able to write all of its header.
    let least = match cut {
        Cut::Length(field) if !field.header_is_framing() => field.header_bytes,
        _ => 0,
    };
    match table.number("head_bytes", 0..=HEAD_BYTES_MAX as u64, " of bytes") {
        Some(at) => {
            if at.value < least as u64 {
                let problem = format!("is {}, but a header has {least} bytes", at.value);
                table
                    .source()
                    .wrong(&at, problem, "adapters are shown at least the header");
            }
            small(Some(at)).unwrap_or(HEAD_BYTES)
        }
        None => HEAD_BYTES.max(least),
    }
}
