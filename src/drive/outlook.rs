//! What a task has to know of what another task has done.

/// The facts about a whole connection that one task may change while another task waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outlook {
    /// Three facts, in this order: the sending half is closed; writing has failed; receiving has
    /// failed. The receiving task must learn of the first fact: when a Close is queued, the sending
    /// half is closed, and a deadline starts that the receiving task has to watch. A fact that is
    /// true stays true.
    pub(super) ends: [bool; 3],
    /// Whether the stream refused bytes. One of the two tasks writes these bytes later.
    pub(super) blocked: bool,
    /// Whether there is room for a message.
    pub(super) room: bool,
}
