//! [`Handle`]: names a connection.

/// Names a connection of one loop. A handle is small. You may keep a handle after its connection is
/// gone: the handle then names nothing, because the loop's next connections get other handles. (The
/// loop gives out a handle again only after 2³² connections in the same slot.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    pub(crate) at: u32,
    pub(crate) generation: u32,
}
