//! Nothing else would report the loss of messages that a dropped sender has not sent.
use super::Sender;
use crate::proto::trace;

impl Drop for Sender {
    /// Does nothing without the feature `tracing`.
    #[inline(always)]
    fn drop(&mut self) {
        let Self { out, urgent, ledger, encoder, .. } = self;
        trace::unsent(encoder.role(), || ledger.messages_left(out, urgent.first.len()));
    }
}
