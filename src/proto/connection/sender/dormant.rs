use super::{Sender, State, encoder::Encoder};
use crate::proto::{
    config::Config,
    connection::{counters::Writes, rtt::Trips},
};
use alloc::boxed::Box;

/// Of [`Sender`], the ledger, the outgoing buffer and `Urgent`.
pub(in crate::proto::connection) struct DormantSender {
    /// Bytes fed in order, all of which were written.
    fed: u64,
    /// The end of the last data, as a position in the bytes fed in order.
    data_end: u64,
    /// Bytes fed in messages that overtook.
    first_fed: u64,
    trips: Option<Box<Trips>>,
    encoder: Encoder,
    writes: Writes,
    longest_write: usize,
}

impl Sender {
    /// Open, with nothing to send or to flush, and without compression. An open half has dropped
    /// nothing, so that count need not be kept. The receiver and the timers make the other checks
    /// that `from_kept` needs.
    pub(in crate::proto::connection) fn may_be_dormant(&self) -> bool {
        matches!(self.state, State::Open)
            && self.is_idle()
            && !self.has_outgoing()
            && self.deflate.is_none()
            && self.held_back() == 0
    }

    /// `may_be_dormant` must be true for this sender and for its `Inbound`. The caller must then
    /// drop the sender: it has the encoder of a server now, so a client's frames would leave
    /// unmasked. (`&mut self`, because `Sender` implements `Drop`, which forbids moving fields
    /// out.)
    pub(in crate::proto::connection) fn keep(&mut self) -> DormantSender {
        let fed = self.out.fed();
        let (data_end, first_fed) = self.ledger.keep(fed);
        DormantSender {
            fed,
            data_end,
            first_fed,
            trips: self.urgent.trips.take(),
            encoder: core::mem::replace(&mut self.encoder, Encoder::new(None)),
            writes: self.out.writes,
            longest_write: self.out.longest_write,
        }
    }

    /// If you add a field to the sender or to its parts, keep it here, unless its value may be lost
    /// or is always the initial one when `may_be_dormant` is true.
    ///
    /// The three `may_be_dormant`, of the sender, the receiver and the timers, make sure of that
    /// for the fields that are missing here: the receiver's fails if `close_is_last` is set, for
    /// example, and the timers' if the heartbeat has a Ping under way.
    ///
    /// Forgetting what `set_memory` and `set_flat` set, and the count `small_uses`, costs only
    /// time. `urgent.beat` is forgotten too: nobody reads it before the next `owe_beat`.
    pub(in crate::proto::connection) fn from_kept(kept: DormantSender, config: &Config) -> Self {
        let DormantSender { fed, data_end, first_fed, trips, encoder, writes, longest_write } =
            kept;
        let mut sender = Self::new(config, None);
        sender.encoder = encoder;
        sender.out.begin_at(fed);
        sender.out.writes = writes;
        if longest_write < usize::MAX {
            sender.limit_writes(longest_write);
        }
        sender.ledger.begin_at(fed, data_end, first_fed);
        sender.urgent.trips = trips;
        sender
    }
}
