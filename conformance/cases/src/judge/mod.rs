//! The judge: what the bytes of a peer mean.
//!
//! It is a plain reader, written from the RFCs to be checked by eye and not to be fast. Bytes go in
//! in any pieces, [`Event`]s come out; the first [`Violation`] is the last event.
//!
//! ```
//! use wsconform_cases::Role;
//! use wsconform_cases::judge::{Event, Kind, Reader};
//!
//! let mut reader = Reader::new(Role::Server);
//! let events = reader.read(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
//! assert_eq!(events, [Event::Message(Kind::Text, b"Hello".to_vec())]);
//! ```

pub mod accept;
pub mod deflate;
pub mod frame;
pub mod http;
pub mod inflate;
pub mod message;
pub mod utf8;

pub use frame::{Frame, Header};
pub use message::{Event, Kind, Reader};

/// What a peer did wrong, as a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The document and section, such as `RFC 6455 5.1`.
    pub section: &'static str,
    /// What is wrong, in words.
    pub what: String,
    /// The close code with which a receiver fails the connection; 0 in a handshake.
    pub code: u16,
}

impl Violation {
    pub(crate) fn new(section: &'static str, code: u16, what: impl Into<String>) -> Violation {
        Violation { section, code, what: what.into() }
    }
}
