//! The errors of the record layer, and the alert for each.
use ::rustls::{AlertDescription, Error, InvalidMessage, PeerMisbehaved};

/// Why a connection has to end, and the alert that tells the peer why, if an alert is sent.
pub(super) struct Fault {
    pub(super) error: Error,
    pub(super) alert: Option<AlertDescription>,
}

/// Adds the alert that belongs to the error (RFC 9846 §6.2).
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let alert = match &error {
            Error::DecryptError => AlertDescription::BadRecordMac,
            Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
            Error::InvalidMessage(
                InvalidMessage::InvalidKeyUpdate | InvalidMessage::DuplicateExtension(_),
            ) => AlertDescription::IllegalParameter,
            Error::InvalidMessage(_) => AlertDescription::DecodeError,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
            _ => AlertDescription::InternalError,
        };
        Self { error, alert: Some(alert) }
    }
}

impl From<PeerMisbehaved> for Fault {
    fn from(error: PeerMisbehaved) -> Self {
        Error::from(error).into()
    }
}

impl From<InvalidMessage> for Fault {
    fn from(error: InvalidMessage) -> Self {
        Error::from(error).into()
    }
}
