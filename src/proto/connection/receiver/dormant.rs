//! The state that a receiver keeps while its connection is dormant.
use super::Receiver;
use crate::proto::{config::Config, connection::counters::Traffic, role::Role};

/// The fields of [`Receiver`] that a dormant connection keeps.
pub(in crate::proto::connection) struct DormantReceiver {
    total: u64,
    not_data: u64,
    heard: bool,
    tally: Traffic,
}

impl Receiver {
    /// Whether receiving goes on, no message is in progress, and every received byte is consumed.
    /// Always `false` if messages may be compressed.
    pub(in crate::proto::connection) fn may_be_dormant(&self) -> bool {
        self.is_idle() && self.inflate.is_none()
    }

    pub(in crate::proto::connection) fn keep(&mut self) -> DormantReceiver {
        let Self { total, not_data, heard, tally, .. } = self;
        DormantReceiver {
            total: *total,
            not_data: *not_data,
            heard: *heard,
            tally: core::mem::take(tally),
        }
    }

    pub(in crate::proto::connection) fn from_kept(
        kept: DormantReceiver,
        role: Role,
        config: &Config,
    ) -> Self {
        let DormantReceiver { total, not_data, heard, tally } = kept;
        Self { total, not_data, heard, tally, ..Self::new(role, config) }
    }
}
