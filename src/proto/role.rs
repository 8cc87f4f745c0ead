/// One of the two ends of a connection (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Exhaustive: a connection has two ends.
pub enum Role {
    /// Sends masked frames, and receives unmasked frames.
    Client,
    /// Sends unmasked frames, and receives masked frames.
    Server,
}

impl Role {
    #[inline(always)]
    pub(crate) const fn by_mask(masks: bool) -> Self {
        if masks { Self::Client } else { Self::Server }
    }
}
