//! The times of the last read, and the number of messages handed out since that read.
use super::Receiver;
use crate::proto::{message::Arrival, time::Time};

/// The last read.
#[derive(Default)]
pub(super) struct LastRead {
    /// When the read was made, if the caller gave the time.
    pub(super) at: Option<Time>,
    /// When the read's bytes arrived, if the kernel gave the time.
    pub(super) arrived: Option<Arrival>,
    /// The number of messages handed out since the read.
    pub(super) handed_out: u32,
}

impl Receiver {
    /// Sets the time of the last read, for [`Info::read_at`](crate::Info::read_at), and the time
    /// when the read's bytes arrived, for [`Info::arrived`](crate::Info::arrived). Call this right
    /// before or right after the bytes are committed. The times apply to later reads too, until you
    /// call this again. Pass `None` for a time that you do not know.
    #[inline]
    pub fn set_read(&mut self, at: Option<Time>, arrived: Option<Arrival>) {
        (self.read.at, self.read.arrived) = (at, arrived);
    }

    /// When the last read was made, if the caller gave the time.
    pub(in crate::proto::connection) fn read_at(&self) -> Option<Time> {
        self.read.at
    }
}
