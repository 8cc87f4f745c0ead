//! What a sender keeps while its connection is dormant.
use super::{Sender, State, encoder::Encoder};
use crate::proto::{
    config::Config,
    connection::{counters::Writes, rtt::Trips},
};
use alloc::boxed::Box;

/// See the fields of [`Sender`].
pub(in crate::proto::connection) struct Kept {
    /// The bytes fed in order, all of which were written.
    fed: u64,
    /// Where the last data among them ends.
    data_end: u64,
    /// The bytes of messages that overtook.
    first_fed: u64,
    trips: Option<Box<Trips>>,
    encoder: Encoder,
    writes: Writes,
}

impl Sender {
    /// Whether nothing is to be sent, and more may be.
    pub(in crate::proto::connection) fn may_be_dormant(&self) -> bool {
        matches!(self.state, State::Open)
            && self.is_idle()
            && !self.has_outgoing()
            && !self.deflate.is_on()
            && self.ledger.may_be_dormant()
    }

    /// Takes what a dormant connection keeps. Needs `may_be_dormant`. The sender is dropped
    /// afterwards: its encoder is gone.
    pub(in crate::proto::connection) fn keep(&mut self) -> Kept {
        let fed = self.out.fed();
        let (data_end, first_fed) = self.ledger.keep(fed);
        Kept {
            fed,
            data_end,
            first_fed,
            trips: self.urgent.take_trips(),
            encoder: core::mem::replace(&mut self.encoder, Encoder::new(None)),
            writes: self.out.writes,
        }
    }

    /// A sender that goes on where the kept one stopped. Everything else is as in a new sender,
    /// which is why `may_be_dormant` asks for so much.
    pub(in crate::proto::connection) fn from_kept(kept: Kept, config: &Config) -> Self {
        let Kept { fed, data_end, first_fed, trips, encoder, writes } = kept;
        let mut sender = Self::new(config, None);
        sender.encoder = encoder;
        sender.out.begin_at(fed);
        sender.out.writes = writes;
        sender.ledger.begin_at(fed, data_end, first_fed);
        sender.urgent.set_trips(trips);
        sender
    }
}
