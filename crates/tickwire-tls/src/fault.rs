//! The alert for each error of the record layer.
use ::rustls::{AlertDescription, Error, InvalidMessage};

/// The alert that tells the peer of an error (RFC 9846 §6.2). The rules in `docs/TLS.md` name the
/// alert for each violation, and `tests/tls/records.rs` checks the alerts.
pub(super) fn alert(error: &Error) -> AlertDescription {
    match error {
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidMessage(
            InvalidMessage::InvalidKeyUpdate | InvalidMessage::DuplicateExtension(_),
        ) => AlertDescription::IllegalParameter,
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
        // Faults of this end. The peer's alert (`AlertReceived`) needs no alert: see `alerted`.
        _ => AlertDescription::InternalError,
    }
}
