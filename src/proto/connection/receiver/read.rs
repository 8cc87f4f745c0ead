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
    /// [`commit`](Self::commit) with the time of the read, for
    /// [`Info::read_at`](crate::Info::read_at).
    ///
    /// # Panics
    ///
    /// If `n` is more than the room of [`spare_mut`](Self::spare_mut).
    #[inline]
    pub fn commit_at(&mut self, n: usize, time: Time) {
        self.read.at = Some(time);
        self.commit(n);
    }

    /// Sets the time at which the bytes of a read arrived, for
    /// [`Info::arrived`](crate::Info::arrived). Call this right before or right after you commit
    /// the bytes. The value stays for later reads until the next call, so set `None` for a read
    /// without this time.
    #[inline]
    pub fn set_arrival(&mut self, arrived: Option<Arrival>) {
        self.read.arrived = arrived;
    }

    /// Sets the times of a read. If the stream has no timestamps, `arrived` is `None`, and a time
    /// of arrival that the caller has set stays.
    pub(crate) fn set_read(&mut self, at: Time, arrived: Option<Option<Arrival>>) {
        self.read.at = Some(at);
        if let Some(arrived) = arrived {
            self.read.arrived = arrived;
        }
    }

    /// When the last read was made, if the caller gave the time.
    pub(in crate::proto::connection) fn read_at(&self) -> Option<Time> {
        self.read.at
    }
}
