//! How a connection ends.
use crate::proto::{error::RecvError, message::DataKind};

/// How a connection ended; see [`Connection::closed`](super::Connection::closed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed<'a> {
    /// The close code of the connection (§7.1.5) as other APIs number it: that of the peer's Close,
    /// 1005 for one without a code, 1006 if none came.
    pub code: u16,
    /// The reason in the peer's Close (§7.1.6), empty without one: for a log, not for people. It may
    /// hold control characters: print it with `{:?}`.
    pub reason: &'a str,
    /// Whether both Close frames have passed (§7.1.4): the peer's was received, and ours was
    /// written. Not that every message came over whole: see [`cut`](Self::cut), and
    /// [`Sender::unsent`](crate::Sender::unsent) for those of ours.
    pub clean: bool,
    /// Why nothing more is received, if receiving failed.
    pub error: Option<RecvError>,
    /// The kind of the message that the peer began and, by its Close, left unfinished: what was
    /// received of it is gone, or, of a message in chunks, was handed out without a last piece. §5.4
    /// allows a control frame there, so that it is no violation.
    pub cut: Option<DataKind>,
}
