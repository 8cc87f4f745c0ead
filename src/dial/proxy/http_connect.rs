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

/// RFC 9110 §9.3.6: the target is the host and the port, which is never left out, because CONNECT
/// has no default port. Without a zone, which has a meaning only on this machine.
fn encode(userinfo: Option<&[u8]>, server: &Target) -> Vec<u8> {
    let host = server.unzoned();
    let port = server.port();
    let authority = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let credentials = match userinfo {
        // RFC 9110 §11.7.2.
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
