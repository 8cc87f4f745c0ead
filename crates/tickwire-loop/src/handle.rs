//! [`Handle`]: names a connection.

/// Names a connection of one loop. A handle is small, and may be kept after the connection is gone.
/// The handle then names nothing, even if another connection has the same slot. (This fails only
/// after 2³² connections in the same slot.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    pub(crate) at: u32,
    pub(crate) generation: u32,
}
