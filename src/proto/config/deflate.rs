//! permessage-deflate as the result of a negotiation.
use super::Negotiated;
use crate::proto::deflate::DeflateParams;

/// Without a subprotocol.
impl From<DeflateParams> for Negotiated {
    fn from(agreed: DeflateParams) -> Self {
        Self { subprotocol: None, deflate: Some(agreed) }
    }
}
