//! Converts the agreed parameters of permessage-deflate into a [`Negotiated`].
use super::Negotiated;
use crate::proto::deflate::DeflateParams;

/// The result has these parameters of compression, and no subprotocol.
impl From<DeflateParams> for Negotiated {
    fn from(agreed: DeflateParams) -> Self {
        Self { subprotocol: None, deflate: Some(agreed) }
    }
}
