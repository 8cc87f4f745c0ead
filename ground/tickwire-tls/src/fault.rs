use ::rustls::{AlertDescription, Error, InvalidMessage};

/// RFC 9846 §6.2. The rules in `docs/TLS-AUDIT.md` name the alert for each violation, and
/// `tests/tls/records.rs` checks them.
pub(super) fn alert(error: &Error) -> AlertDescription {
    match error {
        // RFC 9846 §5.2.
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        // RFC 9846 §6.2: a value that can be decoded, but is wrong: an unknown request in a
        // KeyUpdate (RFC 9846 §4.7.3), or an extension that a ticket has twice.
        Error::InvalidMessage(
            InvalidMessage::InvalidKeyUpdate | InvalidMessage::DuplicateExtension(_),
        ) => AlertDescription::IllegalParameter,
        // RFC 9846 §6.2: bytes that cannot be decoded, such as a wrong length, or a record's header
        // that isn't TLS (`InvalidContentType`, `UnknownProtocolVersion`), for which rustls sends
        // this alert too.
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        // `PeerMisbehaved`: a record or a message where it is not allowed (RFC 9846 §5.1), or too
        // many empty records, KeyUpdates or warnings, which the RFC does not limit, so it names no
        // alert.
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
        // Faults of this end, and `AlertReceived`, after which `silent` is set, so that
        // `Records::end` sends nothing.
        _ => AlertDescription::InternalError,
    }
}
