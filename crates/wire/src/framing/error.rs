//! Why bytes are no messages, and messages cannot be bytes.

/// What is wrong with a stream of messages. Where the next message begins nobody knows then: the connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A message is longer than the service's limit.
    #[error("a message is longer than {most} bytes")]
    TooLong {
        /// The limit, in bytes.
        most: u64,
    },
    /// A length field says less than the framing itself needs.
    #[error("the length field says {length}, less than the framing itself needs")]
    TooShort {
        /// What the field says.
        length: u64,
    },
    /// A netstring that is none.
    #[error("a netstring is damaged: {0}")]
    Netstring(&'static str),
    /// A value of RESP that is none.
    #[error("a value of RESP is damaged: {0}")]
    Resp(&'static str),
    /// A message is damaged.
    #[error("a message's checksum does not match")]
    Checksum,
    /// The stream has ended within a message.
    #[error("the stream has ended within a message")]
    Truncated,
    /// A message is too long for its length field.
    #[error("a message of {length} bytes does not fit its length field")]
    DoesNotFit {
        /// What the field would have to say.
        length: u64,
    },
    /// A message is shorter than the header that it begins with.
    #[error("a message of {length} bytes is shorter than its header of {header} bytes")]
    NoHeader {
        /// The message's length.
        length: u64,
        /// The header's.
        header: usize,
    },
    /// A message contains what would end it.
    #[error("a message contains its own delimiter")]
    Delimiter,
}
