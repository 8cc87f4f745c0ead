//! The alert for each error of the record layer.
use ::rustls::{AlertDescription, Error, InvalidMessage};

/// The alert that tells the peer of an error of `Records::open` (RFC 9846 §6.2). The rules in
/// `docs/TLS.md` name the alert for each violation, and `tests/tls/records.rs` checks the alerts.
pub(super) fn alert(error: &Error) -> AlertDescription {
    match error {
        // RFC 9846 §5.2 names the alerts of these two errors.
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        // RFC 9846 §6.2: this alert is for a value that can be decoded, but is wrong. The wrong
        // values are an unknown request in a KeyUpdate (RFC 9846 §4.7.3), and an extension that a
        // ticket has twice.
        Error::InvalidMessage(
            InvalidMessage::InvalidKeyUpdate | InvalidMessage::DuplicateExtension(_),
        ) => AlertDescription::IllegalParameter,
        // RFC 9846 §6.2: this alert is for bytes that cannot be decoded. Examples are a wrong
        // length, and a record's header that is not TLS (`InvalidContentType`,
        // `UnknownProtocolVersion`). rustls sends the same alert for such a header.
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        // `PeerMisbehaved`: a record or a message is where it is not allowed (RFC 9846 §5.1), or
        // the peer has sent too many empty records, KeyUpdates or warnings. The RFC does not limit
        // these numbers, so it names no alert for them.
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
        // Faults of this end, and `AlertReceived`. After `AlertReceived` this alert is never sent,
        // because `Records::alerted` has sent another alert or decided to send none. In both cases
        // `silent` is set, so `Records::end` does nothing.
        _ => AlertDescription::InternalError,
    }
}
