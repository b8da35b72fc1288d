//! How a service's byte stream is cut into messages, as declared in the upgrade file. What cuts is in the crate `wire`.

/// The longest head that an adapter is shown before the rest of its message is there, in bytes; a header is no longer either.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The head that an adapter is shown unless the upgrade file says otherwise, in bytes: most protocols say within it what a
/// message is.
pub const HEAD_BYTES: usize = 64;

/// The longest message that passes unless the upgrade file says otherwise, in bytes. Messages that pass need no memory; what is
/// longer is most likely no length at all.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 30;

/// The longest delimiter, in bytes.
pub const DELIMITER_BYTES_MAX: usize = 16;

/// A service's framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Where a message ends.
    pub cut: Cut,
    /// How many of a message's first bytes an adapter is shown to judge it by.
    pub head_bytes: usize,
    /// The longest message, framing included, in bytes.
    pub message_bytes_max: u64,
}

/// Where a message ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A field in its header says.
    Length(LengthField),
    /// After these bytes, which occur in no message; never empty.
    Delimiter(Vec<u8>),
    /// As netstrings: the length in decimal digits, a colon, the message, a comma
    /// (D. J. Bernstein, <https://cr.yp.to/proto/netstrings.txt>).
    Netstring,
    /// Where a value of RESP does, the protocol of Redis, in its versions 2 and 3; a command in words ends with its line.
    Resp,
    /// Nowhere: whatever has arrived is a message.
    Raw,
}

/// A length field, and what stands around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LengthField {
    /// Where it begins, in bytes from the frame's beginning.
    pub offset: usize,
    /// Its width in bytes, 1 to 8.
    pub bytes: usize,
    /// Its byte order.
    pub order: ByteOrder,
    /// What it counts.
    pub counts: Counts,
    /// How long the header is that every frame begins with; the field lies in it.
    pub header_bytes: usize,
    /// What shows damage, if something does.
    pub checksum: Option<Checksum>,
}

impl LengthField {
    /// Whether the header has nothing but fields that framing fills in: adapters then see only what follows it.
    pub fn header_is_framing(&self) -> bool {
        let checksum = match &self.checksum {
            Some(Checksum {
                place: ChecksumPlace::Header(_),
                kind,
                ..
            }) => kind.bytes(),
            _ => 0,
        };
        self.bytes + checksum == self.header_bytes
    }

    /// How many bytes follow a frame's body: a checksum at the end.
    pub fn trailer_bytes(&self) -> usize {
        match &self.checksum {
            Some(checksum) if checksum.place == ChecksumPlace::End => checksum.kind.bytes(),
            _ => 0,
        }
    }
}

/// Which end of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The most significant byte.
    Big,
    /// The least significant byte.
    Little,
}

/// What a length field counts, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// The whole frame.
    All,
    /// What follows the field.
    Rest,
    /// What follows the header, a checksum at the end excluded.
    Body,
}

/// A checksum: checked where an adapter sees a message whole, and written anew in what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// How it is computed.
    pub kind: ChecksumKind,
    /// Where it is.
    pub place: ChecksumPlace,
    /// Its byte order.
    pub order: ByteOrder,
    /// What it is computed of.
    pub covers: Covers,
}

/// Where a checksum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumPlace {
    /// In the header, so many bytes from the frame's beginning.
    Header(usize),
    /// After the body.
    End,
}

/// How a checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumKind {
    /// CRC-32 of ISO-HDLC, as in Ethernet, gzip and PNG; 4 bytes.
    Crc32,
    /// CRC-32C of Castagnoli, as in iSCSI; 4 bytes.
    Crc32c,
    /// CRC-16 as in XMODEM and Redis Cluster's slots; 2 bytes.
    Crc16Xmodem,
    /// CRC-64 of Jones, as in Redis' dumps; 8 bytes.
    Crc64Redis,
}

impl ChecksumKind {
    /// Its width.
    pub fn bytes(self) -> usize {
        match self {
            Self::Crc16Xmodem => 2,
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Redis => 8,
        }
    }
}

/// What a checksum is computed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// The whole frame; of a checksum in the header its own bytes as zeros, of one at the end all before it.
    All,
    /// What follows the header.
    Body,
}
