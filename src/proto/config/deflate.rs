//! permessage-deflate as the result of a negotiation.
use super::Negotiated;
use crate::proto::deflate::Agreed;

/// Without a subprotocol.
impl From<Agreed> for Negotiated {
    fn from(agreed: Agreed) -> Self {
        Self { subprotocol: None, deflate: Some(agreed) }
    }
}
