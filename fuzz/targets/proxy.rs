//! Any bytes as a proxy's answers, to CONNECT or in SOCKS5: the same words, the same verdict and
//! the same beginning of the tunnel whole, byte by byte and cut anyhow, as a plain reading of the
//! RFCs has them.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire::{
    Config,
    fuzzing::{Address, Dialogue},
    handshake::{HandshakeError, Progress},
    url::Target,
};
use tickwire_fuzz::{
    Cuts,
    head::{Head, unfold},
    read_head,
};

const GREETING: &[u8] = b"\x05\x01\0";
const GREETING_WITH_LOGIN: &[u8] = b"\x05\x02\0\x02";
const LOGIN: &[u8] = b"\x01\x03ann\x06s3cret";
const REQUEST: &[u8] = b"\x05\x01\0\x03\x0bexample.com\x01\xbb";

fuzz_target!(|data: &[u8]| {
    let [flags, cut, wire @ ..] = data else {
        return;
    };
    let (socks, login, eof) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
    let mut config = Config::default();
    if flags & 8 != 0 {
        config = Config { max_head: 200, max_headers: 5, ..config };
    }
    let url = match (socks, login) {
        (false, false) => "http://proxy",
        (false, true) => "http://ann:s3cret@proxy",
        (true, false) => "socks5://proxy",
        (true, true) => "socks5://ann:s3cret@proxy",
    };
    // The adapters read byte by byte, so that they read no byte of the tunnel.
    let (said, verdict, left) = run(&config, url, wire, 1, eof);
    for cut in [0, *cut] {
        let (other, judged, _) = run(&config, url, wire, cut, eof);
        assert_eq!((&other, judged), (&said, verdict), "cut by {cut}");
    }
    let ahead = (verdict == Ok(Progress::Complete)).then(|| left.to_vec());
    if socks {
        let (expected, tunnel) = read_socks(wire, login);
        assert_eq!((said, ahead), (expected, tunnel));
    } else if let Some(ahead) = ahead {
        assert!(wire.ends_with(&ahead));
        let mut rest = &wire[..wire.len() - ahead.len()];
        let mut last = vec![];
        while !rest.is_empty() {
            let unfolded = unfold(rest);
            let head = Head::read(&unfolded).expect("it passed");
            assert!(last.is_empty() || last.starts_with(b"HTTP/1.1 1"), "one answer");
            (last, rest) = (head.first.to_vec(), &rest[head.len..]);
        }
        assert!(last.starts_with(b"HTTP/1.1 2") || last.starts_with(b"HTTP/1.0 2"));
    } else if let Err(HandshakeError::Refused { status }) = verdict {
        assert!(status == 101 || (300..1000).contains(&status), "{status}");
    }
});

/// What was said, the verdict, and what was not read.
type Outcome<'w> = (Vec<u8>, Result<Progress, HandshakeError>, &'w [u8]);

fn run<'w>(config: &Config, url: &str, wire: &'w [u8], cut: u8, eof: bool) -> Outcome<'w> {
    let server: Target = "wss://example.com/feed".parse().unwrap();
    let mut dialogue = Dialogue::new(&Address::parse(url).unwrap(), &server, config).unwrap();
    let (mut left, mut cuts, mut said) = (wire, Cuts::new(cut), Vec::new());
    let mut verdict = loop {
        said.extend_from_slice(dialogue.outgoing());
        dialogue.advance(usize::MAX);
        let verdict = dialogue.step();
        if verdict == Ok(Progress::Partial) && !dialogue.outgoing().is_empty() {
            continue;
        }
        assert_eq!(verdict, dialogue.step(), "a repeated call repeats its answer");
        if verdict != Ok(Progress::Partial) || left.is_empty() {
            break verdict;
        }
        read_head(&mut dialogue.reading, &mut left, cuts.next().unwrap());
    };
    if eof && verdict == Ok(Progress::Partial) {
        dialogue.reading.end_of_stream();
        verdict = dialogue.step();
        // Of a refusal only the body was missing.
        let refused = matches!(verdict, Err(HandshakeError::Refused { .. }));
        assert!(refused || verdict == Err(HandshakeError::UnexpectedEof), "{verdict:?}");
        assert_eq!(refused, url.starts_with("http:") && has_final_head(wire));
    }
    (said, verdict, left)
}

/// Whether a head follows those of interim answers, if there are any. 101 is final.
fn has_final_head(mut wire: &[u8]) -> bool {
    loop {
        let unfolded = unfold(wire);
        let Some(Head { first, len, .. }) = Head::read(&unfolded) else { return false };
        if !first.starts_with(b"HTTP/1.1 1") || first.starts_with(b"HTTP/1.1 101") {
            return true;
        }
        wire = &wire[len..];
    }
}

/// What is said to a proxy that answers so (RFC 1928, RFC 1929), and what is behind its answers if
/// there is a tunnel.
fn read_socks(wire: &[u8], login: bool) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut said = if login { GREETING_WITH_LOGIN } else { GREETING }.to_vec();
    let mut rest = match wire {
        [5, 0, rest @ ..] => rest,
        [5, 2, rest @ ..] if login => {
            said.extend(LOGIN);
            match rest {
                [1, 0, rest @ ..] => rest,
                _ => return (said, None),
            }
        }
        _ => return (said, None),
    };
    said.extend(REQUEST);
    let address = match rest {
        [5, 0, 0, 1, ..] => 4,
        [5, 0, 0, 3, len, ..] => 1 + usize::from(*len),
        [5, 0, 0, 4, ..] => 16,
        _ => return (said, None),
    };
    rest = match rest.get(4 + address + 2..) {
        Some(rest) => rest,
        None => return (said, None),
    };
    (said, Some(rest.to_vec()))
}
