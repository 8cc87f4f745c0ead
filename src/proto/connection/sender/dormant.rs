//! What a sender keeps while its connection is dormant.
use super::{Sender, State, encoder::Encoder};
use crate::proto::{
    config::Config,
    connection::{counters::Writes, rtt::Trips},
};
use alloc::boxed::Box;

/// See the fields of [`Sender`] and of its parts: the ledger, the outgoing buffer and `Urgent`.
pub(in crate::proto::connection) struct Kept {
    /// The number of bytes fed in order, all of which were written.
    fed: u64,
    /// The position in these bytes where the last data ends.
    data_end: u64,
    /// The number of bytes fed in messages that overtook.
    first_fed: u64,
    trips: Option<Box<Trips>>,
    encoder: Encoder,
    writes: Writes,
}

impl Sender {
    /// Whether this half is open and has nothing to send. `from_kept` says which other state only
    /// the receiver and the timers exclude.
    pub(in crate::proto::connection) fn may_be_dormant(&self) -> bool {
        matches!(self.state, State::Open)
            && self.is_idle()
            && !self.has_outgoing()
            && !self.deflate.is_on()
            && self.ledger.may_be_dormant()
    }

    /// Takes out the parts that a dormant connection keeps. Needs that `may_be_dormant` is true for
    /// this sender and for its `Inbound`. Afterwards the sender has the encoder of a server, so a
    /// client's frames would leave unmasked: the caller must drop the sender.
    pub(in crate::proto::connection) fn keep(&mut self) -> Kept {
        let fed = self.out.fed();
        let (data_end, first_fed) = self.ledger.keep(fed);
        Kept {
            fed,
            data_end,
            first_fed,
            trips: self.urgent.trips.take(),
            encoder: core::mem::replace(&mut self.encoder, Encoder::new(None)),
            writes: self.out.writes,
        }
    }

    /// Makes a sender that goes on where the dormant one stopped. Fields that `Kept` lacks begin
    /// as in a new sender. The three `may_be_dormant` (sender, receiver, timers) exclude any other
    /// state that matters: the receiver excludes `close_is_last`, and the timers exclude a
    /// heartbeat's Ping under way. Three things are forgotten, which costs only time: an adapter's
    /// `set_memory` and `set_flat`, and `small_uses`. `urgent.beat` may be that of an answered
    /// Ping, which nobody reads before the next `owe_beat`.
    ///
    /// A new field of the sender or of its parts must be kept here too. It need not be kept if
    /// `may_be_dormant` excludes all but its first value, or if its value may be lost.
    pub(in crate::proto::connection) fn from_kept(kept: Kept, config: &Config) -> Self {
        let Kept { fed, data_end, first_fed, trips, encoder, writes } = kept;
        let mut sender = Self::new(config, None);
        sender.encoder = encoder;
        sender.out.begin_at(fed);
        sender.out.writes = writes;
        sender.ledger.begin_at(fed, data_end, first_fed);
        sender.urgent.trips = trips;
        sender
    }
}
