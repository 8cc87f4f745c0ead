//! An HTTP/1.1 head read the plain way, to be compared with.

/// A whole head.
#[derive(Debug)]
pub struct Head<'a> {
    /// Without its line end.
    pub first: &'a [u8],
    /// Names, and values without the blanks around them.
    pub headers: Vec<(&'a [u8], &'a [u8])>,
    /// With the empty line.
    pub len: usize,
}

impl<'a> Head<'a> {
    /// `None` where there is no empty line, or a line is none.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut lines = vec![];
        let mut rest = &bytes[..end];
        while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
            lines.push(&rest[..at]);
            rest = &rest[at + 2..];
        }
        lines.push(rest);
        if lines.iter().any(|line| line.contains(&b'\r') || line.contains(&b'\n')) {
            return None;
        }
        let header = |line: &&'a [u8]| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let name = &line[..colon];
            let fine = !name.is_empty() && name.iter().all(|&byte| is_tchar(byte));
            fine.then(|| (name, trim(&line[colon + 1..])))
        };
        let headers = lines[1..].iter().map(header).collect::<Option<_>>()?;
        Some(Self { first: lines[0], headers, len: end + 4 })
    }

    /// The values of all headers of this name.
    pub fn named(&self, name: &str) -> Vec<&'a [u8]> {
        let named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| *value).collect()
    }

    /// Whether headers of this name have `token` among what commas part, in any case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.named(name)
            .iter()
            .flat_map(|value| value.split(|&byte| byte == b','))
            .any(|element| trim(element).eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// The first head of `bytes` with its folded lines as one line each (RFC 9112 §5.2), and what
/// follows it: a line end before a blank, and that blank, are spaces.
pub fn unfold(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
    for at in 0..end {
        if let [b'\r', b'\n', b' ' | b'\t'] = bytes[at..at + 3] {
            bytes[at..at + 3].fill(b' ');
        }
    }
    bytes
}

pub fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let from = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let to = bytes.iter().rposition(|byte| !blank(byte)).map_or(from, |last| last + 1);
    &bytes[from..to]
}

/// RFC 9110 §5.6.2.
pub fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Base64 of 16 bytes.
pub fn valid_key(key: &[u8]) -> bool {
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22].iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}
