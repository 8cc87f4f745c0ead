//! permessage-deflate: whether to offer or accept it, and that it was agreed on.
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

impl Negotiated {
    /// With permessage-deflate (RFC 7692). [`Config::deflate`], or else [`Deflate`]'s defaults, says how to
    /// compress. Feature `deflate`.
    pub fn with_deflate(mut self, agreed: Agreed) -> Self {
        self.deflate = Some(agreed);
        self
    }
}
