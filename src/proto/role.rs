//! The two ends.

/// Which end of the connection this is (RFC 6455 §5.1): a client masks what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Exhaustive: a connection has two ends.
pub enum Role {
    /// Sends masked frames, receives unmasked ones.
    Client,
    /// Sends unmasked frames, receives masked ones.
    Server,
}

impl Role {
    /// The end that masks what it sends, or the other one.
    #[inline(always)]
    pub(crate) const fn by_mask(masks: bool) -> Self {
        if masks { Self::Client } else { Self::Server }
    }
}
