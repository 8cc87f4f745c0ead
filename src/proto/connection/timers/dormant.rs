use super::{
    Pause, Timers,
    beat::{self, Beat},
    idle::Idle,
    silence::Silence,
};
use crate::proto::config::Config;
use alloc::boxed::Box;

/// The other fields are unused in an idle connection, or their loss does no harm.
pub(in crate::proto::connection) struct DormantTimers {
    beat: beat::DormantBeat,
    silence: Option<Box<Silence>>,
    idle: Option<Box<Idle>>,
}

impl Timers {
    /// No Ping is under way, no deadline has passed, and no pause runs or is still to be measured.
    pub(in crate::proto::connection) fn may_be_dormant(&self) -> bool {
        self.beat.as_ref().is_none_or(Beat::may_be_dormant)
            && self.pause == Pause::No
            && self.found.is_none()
            && self.expired.is_none()
    }

    pub(in crate::proto::connection) fn keep(&mut self) -> DormantTimers {
        let beat = self.beat.as_ref().and_then(Beat::keep);
        DormantTimers { beat, silence: self.silence.take(), idle: self.idle.take() }
    }

    pub(in crate::proto::connection) fn from_kept(kept: DormantTimers, config: &Config) -> Self {
        let DormantTimers { beat, silence, idle } = kept;
        let beat = config.heartbeat.map(|heartbeat| Beat::from_kept(heartbeat, beat));
        Self { beat, silence, idle, ..Self::bare(config) }
    }
}
