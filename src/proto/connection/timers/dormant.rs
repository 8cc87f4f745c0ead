//! The state of the deadlines that a dormant connection keeps.
use super::{Beat, Pause, Timers};
use crate::proto::{
    config::Config,
    connection::{idle::Idle, silence::Silence},
    time::Time,
};
use alloc::boxed::Box;

/// The fields of [`Timers`] that a dormant connection keeps.
pub(in crate::proto::connection) struct Kept {
    /// The fields of `Beat::Listening`; `None` for `Beat::Unarmed`.
    listening: Option<(u8, Time)>,
    silence: Option<Box<Silence>>,
    idle: Option<Box<Idle>>,
}

impl Timers {
    /// Whether no Ping of the heartbeat is under way, no pause runs or still has to be measured,
    /// and no deadline has passed.
    pub(in crate::proto::connection) fn may_be_dormant(&self) -> bool {
        matches!(self.beat, Beat::Unarmed | Beat::Listening { .. })
            && self.pause == Pause::No
            && self.expired.is_none()
    }

    pub(in crate::proto::connection) fn keep(&mut self) -> Kept {
        let listening = match self.beat {
            Beat::Listening { silent, until } => Some((silent, until)),
            _ => None,
        };
        Kept { listening, silence: self.silence.take(), idle: self.idle.take() }
    }

    pub(in crate::proto::connection) fn from_kept(kept: Kept, config: &Config) -> Self {
        let Kept { listening, silence, idle } = kept;
        let beat =
            listening.map_or(Beat::Unarmed, |(silent, until)| Beat::Listening { silent, until });
        Self { beat, silence, idle, ..Self::bare(config) }
    }
}
