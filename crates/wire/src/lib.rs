//! What is bytes on the wire, whoever sends it: the [`framing`] that cuts a stream into messages, [`json`] with exact numbers, and the
//! [`words`] of RESP. Nothing here knows what a call is.

pub mod framing;
pub mod json;
pub mod words;
