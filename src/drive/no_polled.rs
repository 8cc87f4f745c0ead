//! Replaces `polled.rs` in builds without an adapter for tasks.

#[derive(Debug, Default)]
pub(crate) struct Tasks {}
