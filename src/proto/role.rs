//! The two ends of a connection.

/// Which end of the connection this is (RFC 6455 §5.1). A client masks the frames that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Exhaustive: a connection has two ends.
pub enum Role {
    /// Sends masked frames, and receives unmasked frames.
    Client,
    /// Sends unmasked frames, and receives masked frames.
    Server,
}

impl Role {
    /// The role of an end. `masks` says whether the end masks its frames.
    #[inline(always)]
    pub(crate) const fn by_mask(masks: bool) -> Self {
        if masks { Self::Client } else { Self::Server }
    }
}
