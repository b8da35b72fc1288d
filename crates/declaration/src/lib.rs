//! What files that people write have in common: a [`reader`] that names file, line and key of whatever is wrong, and the words in which
//! they speak of messages. Those are [`template`]s of paths, [`place`]s in a message, [`expression`]s over it, and the [`scope`]: a message,
//! or an object inside one, while values are taken out and put in.
//!
//! Lenses, declarations of components and conversations are such files; nothing here knows them.

mod error;
pub mod expression;
pub mod lookup;
pub mod pattern;
pub mod place;
pub mod query;
pub mod reader;
pub mod scope;
pub mod template;
mod types;
mod value;
mod variables;

pub use error::{Complaint, DeclarationError, Mismatch};
