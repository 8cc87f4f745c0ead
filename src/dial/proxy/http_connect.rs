//! A tunnel by HTTP's CONNECT (RFC 9110 §9.3.6).
use super::{Answer, ReadAnswer};
use crate::proto::{
    handshake::{HandshakeError, Reading, basic},
    url::Target,
};
use std::{boxed::Box, format, string::String, vec::Vec};

pub(super) fn begin(
    userinfo: Option<&[u8]>,
    server: &Target,
) -> Result<(Vec<u8>, ReadAnswer), HandshakeError> {
    Ok((encode(userinfo, server), Box::new(|reading, _| look(reading))))
}

/// Returns the request. RFC 9110 §9.3.6: the target of the request is the host and the port. The
/// port is never left out, because CONNECT has no default port. An IPv6 zone has a meaning only on
/// this machine, so the host is written without its zone.
fn encode(userinfo: Option<&[u8]>, server: &Target) -> Vec<u8> {
    let host = server.unzoned();
    let port = server.port();
    let authority = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let credentials = match userinfo {
        // RFC 9110 §11.7.2 defines this header.
        Some(userinfo) => format!("Proxy-Authorization: {}\r\n", basic(userinfo)),
        None => String::new(),
    };
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n").into_bytes()
}

fn look(reading: &mut Reading) -> Result<Answer, HandshakeError> {
    let Some(line) = reading.final_response()? else { return Ok(Answer::Partial) };
    match line.status {
        // RFC 9110 §9.3.6: any 2xx opens the tunnel, and has no body, even with a Content-Length or
        // Transfer-Encoding.
        200..=299 => {
            reading.skip(line.len);
            Ok(Answer::Tunnel)
        }
        // A 101 refuses too, because no upgrade was asked for.
        _ => Ok(Answer::Refused(line)),
    }
}
