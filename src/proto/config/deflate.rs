//! permessage-deflate as the result of a negotiation.
use super::Negotiated;
use crate::proto::deflate::DeflateParams;

/// The result has no subprotocol.
impl From<DeflateParams> for Negotiated {
    fn from(agreed: DeflateParams) -> Self {
        Self { subprotocol: None, deflate: Some(agreed) }
    }
}
