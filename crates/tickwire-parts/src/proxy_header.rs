//! [`ProxyHeader`]: the header of the PROXY protocol, by which a balancer names its client.
#[cfg(test)]
mod tests;

use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    str,
};

/// The header of the [PROXY protocol], versions 1 and 2, which a balancer sends in front of all
/// that its client says, also in front of TLS.
///
/// [`parse`](Self::parse) the first bytes of a connection, and read exactly as many more as it asks
/// for: then no byte of the client is read, and the stream can be passed to `accept` or to TLS as
/// it is. With tokio:
///
/// ```
/// use std::{io, net::SocketAddr};
/// use tickwire_parts::ProxyHeader;
/// use tokio::io::{AsyncRead, AsyncReadExt};
///
/// /// The client, or `None` if the balancer speaks for itself.
/// async fn client(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
///     let mut header = Vec::new();
///     loop {
///         match ProxyHeader::parse(&header) {
///             Ok(ProxyHeader::Complete(client)) => return Ok(client),
///             Ok(ProxyHeader::Partial { missing }) => {
///                 let read = header.len();
///                 header.resize(read + missing, 0);
///                 stream.read_exact(&mut header[read..]).await?;
///             }
///             Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
///         }
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> io::Result<()> {
/// let mut stream = &b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\r\nGET / HTTP/1.1\r\n"[..];
/// assert_eq!(client(&mut stream).await?, Some(([192, 0, 2, 7], 50000).into()));
/// assert!(stream.starts_with(b"GET /"));
/// # Ok(())
/// # }
/// ```
///
/// Call it only for connections from your balancer's addresses, because anybody else can write any
/// address; and there call it always, because the first bytes of a client could look like a header.
/// Bound the time: a peer may send nothing. A `Door` of `tickwire-loop` does all this itself
/// (`Door::proxy_protocol`), and [a recipe] does it with tokio.
///
/// [PROXY protocol]: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
/// [a recipe]: https://docs.rs/tickwire/latest/tickwire/guide/recipes/browsers/index.html#the-proxy-protocol
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: a loop that ignored a new variant would never end.
pub enum ProxyHeader {
    /// Read this many more bytes, not more: at least one, and all of them the header's.
    Partial {
        /// The number of bytes.
        missing: usize,
    },
    /// The header is complete, with the client's address. `None` if the header names no client, and
    /// the peer's own address holds: LOCAL (a balancer's health check), UNKNOWN, a Unix socket, or
    /// datagrams.
    Complete(Option<SocketAddr>),
}

/// Bytes that are no header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadProxyHeader {
    /// The fault, such as `"PROXY protocol: the version is neither 1 nor 2"`.
    pub what: &'static str,
}

impl fmt::Display for BadProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl core::error::Error for BadProxyHeader {}

/// Section 2.1: each line of version 1 begins so.
const LINE: &[u8] = b"PROXY ";
/// Section 2.2: each header of version 2 begins so.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Section 2.1: `PROXY UNKNOWN`, two IPv6 addresses and two ports of the greatest length, and CRLF.
const LONGEST_LINE: usize = 107;
/// The signature, version and command, family, and the length of the rest.
const FIXED: usize = 16;

impl ProxyHeader {
    /// The longest header that is accepted, in bytes: 4,096. A balancer's own data (TLVs), which
    /// are not read, are rarely longer than some hundred bytes; the format would allow 64 KiB.
    pub const MAX: usize = 4096;

    /// Parses the first bytes of a connection. `bytes` has all that was read so far, and at first
    /// nothing. What is behind a complete header is not looked at.
    ///
    /// # Errors
    ///
    /// As soon as a byte shows that the bytes are no header, a bad one, or one that is too long.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadProxyHeader> {
        let begins = |with: &[u8]| bytes.iter().zip(with).all(|(got, want)| got == want);
        match bytes.first() {
            // No header is shorter than the line `PROXY UNKNOWN`.
            None => Ok(Self::Partial { missing: b"PROXY UNKNOWN\r\n".len() }),
            Some(b'P') if begins(LINE) => line(bytes),
            Some(b'\r') if begins(SIGNATURE) => binary(bytes),
            _ => bad("no header of the PROXY protocol, which this address has to send"),
        }
    }
}

const fn bad<T>(what: &'static str) -> Result<T, BadProxyHeader> {
    Err(BadProxyHeader { what })
}

/// Version 1 (section 2.1): a line of text.
fn line(bytes: &[u8]) -> Result<ProxyHeader, BadProxyHeader> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    if end.unwrap_or(bytes.len()) + 2 > LONGEST_LINE {
        return bad("PROXY protocol: the line is longer than 107 bytes");
    }
    let Some(end) = end else {
        let shortest = match bytes.get(LINE.len()) {
            Some(b'T') => b"PROXY TCP6 :: :: 0 0\r\n".len(),
            _ => b"PROXY UNKNOWN\r\n".len(),
        };
        let missing = shortest.saturating_sub(bytes.len()).max(b"\r\n".len());
        return Ok(ProxyHeader::Partial { missing });
    };
    match bytes.get(end..) {
        Some(b"\r") => return Ok(ProxyHeader::Partial { missing: 1 }),
        // Bytes behind a line that is shorter than any good one don't change what is wrong with it.
        Some([b'\r', b'\n', ..]) => {}
        _ => return bad("PROXY protocol: the line does not end with CRLF"),
    }
    let text = bytes.get(LINE.len()..end).and_then(|rest| str::from_utf8(rest).ok());
    let text = text.unwrap_or_default(); // no protocol has an empty name
    let mut words = text.split(' ');
    let is_ip4 = match words.next() {
        Some("TCP4") => true,
        Some("TCP6") => false,
        // The receiver ignores the rest of the line.
        Some("UNKNOWN") => return Ok(ProxyHeader::Complete(None)),
        _ => return bad("PROXY protocol: the line names no protocol that exists"),
    };
    let mut address = || {
        let word = words.next()?;
        Some(match is_ip4 {
            true => word.parse::<Ipv4Addr>().ok()?.into(),
            false => word.parse::<Ipv6Addr>().ok()?.into(),
        })
    };
    let client = address();
    let has_both = client.is_some() && address().is_some();
    let mut port = || {
        let word = words.next().filter(|word| word.bytes().all(|b| b.is_ascii_digit()))?;
        word.parse::<u16>().ok()
    };
    match (client, port(), port(), words.next()) {
        (Some(client), Some(from), Some(_), None) if has_both => {
            Ok(ProxyHeader::Complete(Some(SocketAddr::new(client, from))))
        }
        _ => bad("PROXY protocol: the line has no two addresses and two ports of its protocol"),
    }
}

/// Version 2 (section 2.2).
fn binary(bytes: &[u8]) -> Result<ProxyHeader, BadProxyHeader> {
    let Some(([.., command, family, high, low], rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(ProxyHeader::Partial { missing: FIXED - bytes.len() });
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let needed = match (command, family) {
        // LOCAL: the family and the rest are ignored.
        (0x20, _) => None,
        (0x21, 0x11) => Some(12),
        (0x21, 0x21) => Some(36),
        // No family, datagrams, and Unix sockets: no address that could be compared with others.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        (0x21, _) => return bad("PROXY protocol: the family or the transport does not exist"),
        (0x20..=0x2f, _) => return bad("PROXY protocol: the command does not exist"),
        _ => return bad("PROXY protocol: the version is neither 1 nor 2"),
    };
    if needed.is_some_and(|needed| len < needed) {
        return bad("PROXY protocol: the header is shorter than its addresses");
    }
    if FIXED + len > ProxyHeader::MAX {
        return bad("PROXY protocol: the header is longer than 4096 bytes");
    }
    if rest.len() < len {
        return Ok(ProxyHeader::Partial { missing: len - rest.len() });
    }
    let port = |at: usize| match rest.get(at..) {
        Some([high, low, ..]) => u16::from_be_bytes([*high, *low]),
        _ => 0, // not reached: `needed` bytes are there
    };
    let client = match needed {
        Some(12) => rest.first_chunk::<4>().map(|ip| SocketAddr::from((*ip, port(8)))),
        Some(_) => rest.first_chunk::<16>().map(|ip| SocketAddr::from((*ip, port(32)))),
        None => None,
    };
    Ok(ProxyHeader::Complete(client))
}
