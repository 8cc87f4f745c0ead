//! Headers by the specification, whole, cut, spoilt and too long.
#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use proptest::prelude::*;
use std::{format, string::String, vec, vec::Vec};

/// What a reader that reads no more than it is told comes to, and how much it has read.
fn read(wire: &[u8]) -> (Result<Option<SocketAddr>, &'static str>, usize) {
    let mut read = 0;
    loop {
        match ProxyHeader::parse(&wire[..read]) {
            Ok(ProxyHeader::Complete(client)) => return (Ok(client), read),
            Ok(ProxyHeader::Partial { missing }) => {
                assert!(missing > 0);
                if read == wire.len() {
                    return (Err("truncated"), read);
                }
                read = wire.len().min(read + missing);
            }
            Err(BadProxyHeader { what }) => return (Err(what), read),
        }
    }
}

/// The header alone, in front of others, cut anywhere, and byte by byte.
#[track_caller]
fn parsed(header: &[u8]) -> Option<SocketAddr> {
    let (client, len) = read(header);
    let client = client.unwrap();
    assert_eq!(len, header.len());
    for behind in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\r\n", b"PROXY UNKNOWN\r\n"] {
        assert_eq!(read(&[header, behind].concat()), (Ok(client), len));
    }
    for cut in 0..header.len() {
        let Ok(ProxyHeader::Partial { missing }) = ProxyHeader::parse(&header[..cut]) else {
            panic!("after {cut}")
        };
        assert!(missing <= header.len() - cut, "after {cut}");
    }
    client
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, rest].concat()
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn lines_of_version_1_name_the_client() {
    let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                   ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(longest.len(), LONGEST_LINE);
    for (line, client) in [
        ("PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\r\n", address("192.0.2.7:50000")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", {
            address("255.255.255.255:65535")
        }),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", address("0.0.0.0:0")),
        ("PROXY TCP6 :: :: 0 0\r\n", address("[::]:0")),
        ("PROXY TCP6 2001:db8::7 2001:DB8::1 50000 443\r\n", address("[2001:db8::7]:50000")),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", address("[::ffff:192.0.2.7]:1")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN anything at all, even \u{e9}\r\n", None),
        (longest, None),
    ] {
        assert_eq!(parsed(line.as_bytes()), client, "{line}");
    }
}

#[test]
fn headers_of_version_2_name_the_client() {
    let ip4 = [192, 0, 2, 7, 192, 0, 2, 1, 0xc3, 0x50, 1, 0xbb];
    let mut ip6 = [0; 36];
    ip6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    ip6[15] = 7;
    ip6[32..].copy_from_slice(&[0xc3, 0x50, 1, 0xbb]);
    let tlv = [&ip4[..], &[0xee, 0, 3, 1, 2, 3]].concat();
    let four = address("192.0.2.7:50000");
    let six = address("[2001:db8::7]:50000");
    for (command, family, rest, client) in [
        (0x21, 0x11, &ip4[..], four),
        (0x21, 0x21, &ip6, six),
        (0x21, 0x11, &tlv, four),
        (0x21, 0x11, &[&ip4[..], &[0xff]].concat(), four), // a TLV that is cut is not read either
        (0x21, 0x21, &[&ip6[..], &[4; 500]].concat(), six),
        (0x21, 0x11, &[&ip4[..], &vec![0; ProxyHeader::MAX - 28]].concat(), four),
        // LOCAL ignores the family and what follows; the others have no address to compare.
        (0x20, 0x00, &[], None),
        (0x20, 0x11, &ip4, None),
        (0x20, 0xff, &[1], None),
        (0x21, 0x00, &[], None),
        (0x21, 0x00, &[0; 9], None),
        (0x21, 0x12, &ip4, None),
        (0x21, 0x22, &ip6, None),
        (0x21, 0x31, &[b'/'; 216], None),
        (0x21, 0x32, &[b'/'; 216], None),
    ] {
        assert_eq!(parsed(&v2(command, family, rest)), client, "{command:x} {family:x}");
    }
}

/// The fault shows at the first byte that is wrong, and no byte behind it is wanted.
#[test]
fn what_is_no_header_is_refused_at_once() {
    const NONE: &str = "no header of the PROXY protocol, which this address has to send";
    const PROTOCOL: &str = "PROXY protocol: the line names no protocol that exists";
    const ADDRESSES: &str =
        "PROXY protocol: the line has no two addresses and two ports of its protocol";
    const CRLF: &str = "PROXY protocol: the line does not end with CRLF";
    const LONG: &str = "PROXY protocol: the line is longer than 107 bytes";
    let long = format!("PROXY TCP4 {}", "1".repeat(200));
    let unknown = format!("PROXY UNKNOWN {}\r\n", "1".repeat(92));
    for (wire, what) in [
        ("GET / HTTP/1.1\r\n", NONE),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{0}\x03\x03aaaa", NONE),
        ("POST / HTTP/1.1\r\n", NONE),
        ("PROXYTCP4 1.1.1.1 1.1.1.1 1 1\r\n", NONE),
        ("proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", NONE),
        ("\r\nPROXY UNKNOWN\r\n", NONE),
        ("\r\n\r\n\0\r\nQUIT\r\n\0\0\0", NONE),
        ("PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", PROTOCOL),
        ("PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n", PROTOCOL),
        ("PROXY tcp4 1.1.1.1 1.1.1.1 1 1\r\n", PROTOCOL),
        ("PROXY \r\n     padding", PROTOCOL),
        ("PROXY UNKNOWNX\r\n", PROTOCOL),
        ("PROXY TCP4 ::1 ::1 1 1\r\n", ADDRESSES),
        ("PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.01 1.1.1.1 1 1\r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.1 1.1.1.256 1 1\r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 -1\r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 \u{661}\r\n", ADDRESSES),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n", ADDRESSES),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n\n", CRLF),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\r\n", CRLF),
        ("PROXY UNKNOWN\n\r\n", CRLF),
        (&long, LONG),
        (&unknown, LONG),
    ] {
        assert_eq!(read(wire.as_bytes()).0, Err(what), "{wire}");
    }
    let not_utf8 = b"PROXY TCP4 1.1.1.1 1.1.1.1 1 \xff\r\n";
    assert_eq!(read(not_utf8).0, Err(PROTOCOL));
    const VERSION: &str = "PROXY protocol: the version is neither 1 nor 2";
    const COMMAND: &str = "PROXY protocol: the command does not exist";
    const FAMILY: &str = "PROXY protocol: the family or the transport does not exist";
    const SHORT: &str = "PROXY protocol: the header is shorter than its addresses";
    const TOO_LONG: &str = "PROXY protocol: the header is longer than 4096 bytes";
    for (command, family, len, what) in [
        (0x11, 0x11, 12, VERSION),
        (0x31, 0x11, 12, VERSION),
        (0x01, 0x11, 12, VERSION),
        (0x22, 0x11, 12, COMMAND),
        (0x2f, 0x11, 12, COMMAND),
        (0x21, 0x10, 12, FAMILY),
        (0x21, 0x13, 12, FAMILY),
        (0x21, 0x01, 12, FAMILY),
        (0x21, 0x41, 300, FAMILY),
        (0x21, 0x11, 0, SHORT),
        (0x21, 0x11, 11, SHORT),
        (0x21, 0x21, 35, SHORT),
        (0x21, 0x11, ProxyHeader::MAX - 15, TOO_LONG),
        (0x20, 0x00, 65535, TOO_LONG),
    ] {
        let header = v2(command, family, &vec![0; len]);
        assert_eq!(read(&header), (Err(what), 16), "{command:x} {family:x} {len}");
    }
    assert_eq!(format!("{}", ProxyHeader::parse(b"x").unwrap_err()), NONE);
}

/// The reader ends within the bounds, and is told of the same client or fault whether it reads as
/// much as it may or byte by byte.
#[track_caller]
fn judged_the_same(wire: &[u8]) {
    let (whole, len) = read(wire);
    assert!(len <= ProxyHeader::MAX);
    for read in 0..=wire.len() {
        match ProxyHeader::parse(&wire[..read]) {
            Ok(ProxyHeader::Partial { missing }) => {
                assert!(read + missing <= len || whole.is_err(), "{read}");
            }
            Ok(ProxyHeader::Complete(client)) => {
                assert_eq!((Ok(client), read), (whole, len));
                break;
            }
            Err(BadProxyHeader { what }) => {
                assert_eq!(Err(what), whole);
                break;
            }
        }
    }
}

/// Lines that end before the shortest good one, so that a reader has what is behind them too.
#[test]
fn what_is_behind_a_short_line_changes_no_verdict() {
    judged_the_same(b"PROXY \r\n\0");
    judged_the_same(b"PROXY TCP4 \r\n          behind it");
}

proptest! {
    #[test]
    fn any_bytes_are_judged_the_same_however_they_come(
        start in 0_usize..5,
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let ip4 = v2(0x21, 0x11, &[7; 12]);
        let starts = [&b""[..], LINE, b"PROXY TCP4 1.1.1.1 1.1.1.1 1 ", SIGNATURE, &ip4];
        let wire = [starts[start], &noise].concat();
        judged_the_same(&wire);
    }

    #[test]
    fn each_address_comes_back(
        ip in any::<[u8; 16]>(),
        port in any::<u16>(),
        four in any::<bool>(),
    ) {
        let [a, b, c, d, ..] = ip;
        let ip6 = Ipv6Addr::from(ip);
        let [high, low] = port.to_be_bytes();
        let (line, header, client): (String, _, _) = match four {
            true => {
                let ip = Ipv4Addr::new(a, b, c, d);
                let rest = [a, b, c, d, 1, 2, 3, 4, high, low, 0, 0];
                (format!("PROXY TCP4 {ip} 1.2.3.4 {port} 0\r\n"), v2(0x21, 0x11, &rest), ip.into())
            }
            false => {
                let rest = [&ip[..], &[9; 16], &[high, low, 0, 0]].concat();
                (format!("PROXY TCP6 {ip6} ::1 {port} 0\r\n"), v2(0x21, 0x21, &rest), ip6.into())
            }
        };
        let client = Some(SocketAddr::new(client, port));
        prop_assert_eq!(read(line.as_bytes()).0, Ok(client));
        prop_assert_eq!(read(&header).0, Ok(client));
    }
}
