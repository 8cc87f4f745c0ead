//! What a task has to know of what another task has done.

/// What one task may change on a whole connection while another waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outlook {
    /// The sending half is closed; writing has failed; receiving has failed. The receiving task
    /// must learn of the first, because a queued Close starts a deadline that it has to watch. What
    /// is true stays true.
    pub(super) ends: [bool; 3],
    /// The stream refused bytes, which one of the two tasks writes later.
    pub(super) blocked: bool,
    /// There is room for a message.
    pub(super) room: bool,
}
