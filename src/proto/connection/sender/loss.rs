//! The end of a sender that still holds messages: nothing else would tell that they are lost.
use super::Sender;
use crate::proto::trace;

impl Drop for Sender {
    /// Nothing without the feature `tracing`.
    #[inline(always)]
    fn drop(&mut self) {
        let Self { out, urgent, ledger, encoder, .. } = self;
        trace::unsent(encoder.role(), || ledger.messages_left(out, urgent.first_len()));
    }
}
