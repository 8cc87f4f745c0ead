use super::Receiver;
use crate::proto::{message::Arrival, time::Time};

#[derive(Default)]
pub(super) struct LastRead {
    /// The time of the read, if the caller gave it.
    pub(super) at: Option<Time>,
    /// When the bytes arrived, if the kernel said so.
    pub(super) arrived: Option<Arrival>,
    /// How many messages were handed out since the read.
    pub(super) handed_out: u32,
}

impl Receiver {
    /// Sets the time of the last read, for [`Info::read_at`](crate::Info::read_at), and the time
    /// when the read's bytes arrived, for [`Info::arrived`](crate::Info::arrived). Call this right
    /// before or right after the bytes are committed. The times apply to later reads too, until you
    /// call this again. Pass `None` for a time that you do not know.
    #[inline]
    pub fn set_read(&mut self, at: Option<Time>, arrived: Option<Arrival>) {
        self.read.at = at;
        self.read.arrived = arrived;
    }

    pub(in crate::proto::connection) fn read_at(&self) -> Option<Time> {
        self.read.at
    }
}
