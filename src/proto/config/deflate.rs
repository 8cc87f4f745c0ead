//! permessage-deflate: whether to offer or accept it.
use super::{Config, Negotiated};
use crate::proto::deflate::{Agreed, Deflate};

impl Config {
    /// Offers or accepts permessage-deflate (RFC 7692); default no. See
    /// [`deflate`](crate::deflate) for its cost, and [`Deflate`] for the settings.
    /// Feature `deflate`.
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.deflate = Some(deflate);
        self
    }
}

/// Without a subprotocol.
impl From<Agreed> for Negotiated {
    fn from(agreed: Agreed) -> Self {
        Self { subprotocol: None, deflate: Some(agreed) }
    }
}
