//! The state that a sender keeps while its connection is dormant.
use super::{Sender, State, encoder::Encoder};
use crate::proto::{
    config::Config,
    connection::{counters::Writes, rtt::Trips},
};
use alloc::boxed::Box;

/// The fields of [`Sender`] and of its parts (the ledger, the outgoing buffer and `Urgent`) that a
/// dormant connection keeps.
pub(in crate::proto::connection) struct DormantSender {
    /// The number of bytes fed in order, all of which were written.
    fed: u64,
    /// The end of the last data, as a position in the bytes fed in order.
    data_end: u64,
    /// The number of bytes fed in messages that overtook.
    first_fed: u64,
    trips: Option<Box<Trips>>,
    encoder: Encoder,
    writes: Writes,
}

impl Sender {
    /// Whether this half is open, has nothing to send or to flush, and does not compress. An open
    /// half has dropped nothing, so the count of dropped bytes need not be kept. The receiver and
    /// the timers make the other checks that `from_kept` needs.
    pub(in crate::proto::connection) fn may_be_dormant(&self) -> bool {
        matches!(self.state, State::Open)
            && self.is_idle()
            && !self.has_outgoing()
            && self.deflate.is_none()
            && self.held_back() == 0
    }

    /// Takes out the parts that a dormant connection keeps. `may_be_dormant` must be true for this
    /// sender and for its `Inbound`. The caller must then drop the sender: it has the encoder of a
    /// server now, so a client's frames would leave unmasked. (This takes `&mut self`, because
    /// `Sender` implements `Drop`, which forbids moving fields out.)
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
        }
    }

    /// Makes a sender that goes on where the dormant sender stopped. Fields that `DormantSender`
    /// lacks begin as in a new sender. The checks `may_be_dormant` of the sender, the receiver and
    /// the timers make sure that each of these fields has its initial value, or a value that no
    /// longer matters. For example, the receiver's check fails if `close_is_last` is set, and the
    /// timers' check fails if the heartbeat has a Ping under way. Forgetting three values costs
    /// only time: those that `set_memory` and `set_flat` set, and the count `small_uses`.
    /// `urgent.beat` is forgotten too: nobody reads it before the next `owe_beat`.
    ///
    /// If you add a field to the sender or to its parts, keep the field here, unless its value may
    /// be lost or is always the initial value when `may_be_dormant` is true.
    pub(in crate::proto::connection) fn from_kept(kept: DormantSender, config: &Config) -> Self {
        let DormantSender { fed, data_end, first_fed, trips, encoder, writes } = kept;
        let mut sender = Self::new(config, None);
        sender.encoder = encoder;
        sender.out.begin_at(fed);
        sender.out.writes = writes;
        sender.ledger.begin_at(fed, data_end, first_fed);
        sender.urgent.trips = trips;
        sender
    }
}
