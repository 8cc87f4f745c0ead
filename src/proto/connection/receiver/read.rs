//! What is known of the last read besides its bytes.
use super::Receiver;
use crate::proto::{message::Arrival, time::Time};

/// The last read.
#[derive(Default)]
pub(super) struct LastRead {
    /// When it was made, if the caller said so.
    pub(super) at: Option<Time>,
    /// When its bytes arrived, if the kernel said so.
    pub(super) arrived: Option<Arrival>,
    /// How many messages have been handed out since.
    pub(super) handed_out: u32,
}

impl Receiver {
    /// [`commit`](Self::commit), and when the bytes came, for
    /// [`Info::read_at`](crate::Info::read_at).
    ///
    /// # Panics
    ///
    /// If `n` is more than there was room for.
    #[inline]
    pub fn commit_at(&mut self, n: usize, time: Time) {
        self.read.at = Some(time);
        self.commit(n);
    }

    /// Says when the bytes of a read arrived, for [`Info::arrived`](crate::Info::arrived): before
    /// they are committed, or right after. It holds for later reads until it is said again: `None`
    /// for one without a time.
    #[inline]
    pub fn set_arrival(&mut self, arrived: Option<Arrival>) {
        self.read.arrived = arrived;
    }

    /// Says when a read was made, and, if anything is known of that, when its bytes arrived.
    pub(crate) fn set_read(&mut self, at: Time, arrived: Option<Option<Arrival>>) {
        self.read.at = Some(at);
        if let Some(arrived) = arrived {
            self.read.arrived = arrived;
        }
    }

    /// When the last read was made, if the caller said so.
    pub(in crate::proto::connection) fn read_at(&self) -> Option<Time> {
        self.read.at
    }
}
