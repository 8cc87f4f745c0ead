//! The other decoder of permessage-deflate: a plain reading of the RFCs.
#[path = "../../tests/references/inflating.rs"]
mod reference;
pub use reference::Stream;

/// More than any message here becomes, in bytes.
pub const LIMIT: usize = 1 << 20;

/// What it makes of a message alone; `None` if it is not complete.
pub fn inflate(payload: &[u8]) -> Option<Vec<u8>> {
    Stream::default().message(payload)
}
