//! The opening handshake of the peer: RFC 6455 4, RFC 7692 7.1, RFC 9112.

pub struct Head {
    pub start: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// `None`: a head that RFC 9112 does not allow.
    pub fn parse(bytes: &[u8]) -> Option<Head> {
        let text = bytes.strip_suffix(b"\r\n\r\n")?;
        let text: String = text.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text.split("\r\n");
        let start = lines.next()?.to_owned();
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            if !is_token(name) || value.contains(['\r', '\n', '\0']) {
                return None;
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        (!start.contains(['\r', '\n', '\0'])).then_some(Head { start, fields })
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(|field| field.1.as_str()).collect()
    }

    pub fn only(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        if all.len() == 1 { Some(all[0]) } else { None }
    }

    pub fn list(&self, name: &str) -> Vec<&str> {
        let elements = self.all(name).into_iter().flat_map(|line| line.split(','));
        elements.map(|one| one.trim_matches([' ', '\t'])).filter(|one| !one.is_empty()).collect()
    }

    pub fn has(&self, name: &str, token: &str) -> bool {
        self.list(name).iter().any(|one| one.eq_ignore_ascii_case(token))
    }
}

pub fn is_token(text: &str) -> bool {
    let is_tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(is_tchar)
}

/// RFC 9112 3.2, RFC 3986 3.2.2 and 3.2.3.
pub fn is_host(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(at) if !text.ends_with(']') => (&text[..at], &text[at + 1..]),
        _ => (text, ""),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=".contains(c);
    let is_literal = |c: char| is_name(c) || c == ':';
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inner {
        Some(inner) => !inner.is_empty() && inner.chars().all(is_literal),
        None => host.chars().all(is_name),
    };
    is_host && port.chars().all(|c| c.is_ascii_digit())
}

pub type Params = Vec<(String, Option<String>)>;

/// RFC 6455 9.1. `None`: malformed.
pub fn extensions(text: &str) -> Option<Vec<(String, Params)>> {
    let mut list = Vec::new();
    for one in split(text, ',')? {
        let one = one.trim_matches([' ', '\t']);
        if one.is_empty() {
            continue;
        }
        let mut parts = split(one, ';')?.into_iter().map(|part| part.trim_matches([' ', '\t']));
        let name = parts.next().filter(|name| is_token(name))?;
        let mut params = Vec::new();
        for part in parts {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key.trim_end(), Some(value.trim_start())),
                None => (part, None),
            };
            let value = match value {
                Some(quoted) if quoted.starts_with('"') => {
                    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
                    Some(inner.replace('\\', ""))
                }
                other => other.map(str::to_owned),
            };
            if !is_token(key) || value.as_ref().is_some_and(|value| !is_token(value)) {
                return None;
            }
            params.push((key.to_owned(), value));
        }
        list.push((name.to_owned(), params));
    }
    (!list.is_empty()).then_some(list)
}

/// Splits outside quoted strings.
fn split(text: &str, at: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    let mut escaped = false;
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == at && !quoted => {
                parts.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

/// What is agreed, or offered: windows in bits.
#[derive(Clone, Copy, Default, Debug)]
pub struct Deflate {
    pub server_fresh: bool,
    pub client_fresh: bool,
    pub server_bits: Option<u32>,
    /// The parameter is there, perhaps without a value.
    pub client_bits: Option<Option<u32>>,
}

impl Deflate {
    /// RFC 7692 7.1. `None`: unknown, repeated or malformed parameters.
    pub fn read(params: &Params, is_answer: bool) -> Option<Deflate> {
        let mut read = Deflate::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in params {
            if seen.contains(&name.as_str()) {
                return None;
            }
            seen.push(name);
            let bits = || -> Option<u32> {
                let text = value.as_ref()?;
                let bits = text.parse().ok()?;
                (!text.starts_with(['0', '+']) && (8..=15).contains(&bits)).then_some(bits)
            };
            match name.as_str() {
                "server_no_context_takeover" if value.is_none() => read.server_fresh = true,
                "client_no_context_takeover" if value.is_none() => read.client_fresh = true,
                "server_max_window_bits" => read.server_bits = Some(bits()?),
                "client_max_window_bits" if value.is_none() && !is_answer => {
                    read.client_bits = Some(None)
                }
                "client_max_window_bits" => read.client_bits = Some(Some(bits()?)),
                _ => return None,
            }
        }
        Some(read)
    }
}

/// RFC 3174.
fn sha1(data: &[u8]) -> [u8; 20] {
    let mut bytes = data.to_vec();
    bytes.push(0x80);
    while bytes.len() % 64 != 56 {
        bytes.push(0);
    }
    bytes.extend((data.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in bytes.chunks(64) {
        let mut words: Vec<u32> =
            block.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
        for at in 16..80 {
            let word = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
            words.push(word.rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mix, constant) = match at {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6u32),
            };
            let next = a.rotate_left(5).wrapping_add(mix).wrapping_add(e);
            let next = next.wrapping_add(constant).wrapping_add(*word);
            e = d;
            d = c;
            c = b.rotate_left(30);
            b = a;
            a = next;
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut hash = [0; 20];
    for (to, word) in hash.chunks_mut(4).zip(state) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn base64(data: &[u8]) -> String {
    let mut text = String::new();
    for three in data.chunks(3) {
        let mut word = 0usize;
        for place in 0..3 {
            word = word << 8 | usize::from(three.get(place).copied().unwrap_or(0));
        }
        for place in 0..4 {
            let c = ALPHABET[word >> (18 - 6 * place) & 63];
            text.push(if place <= three.len() { c.into() } else { '=' });
        }
    }
    text
}

/// Whether this is the base64 of 16 bytes.
pub fn is_key(key: &str) -> bool {
    let bytes = key.as_bytes();
    bytes.len() == 24
        && bytes.ends_with(b"==")
        && bytes[..22].iter().all(|byte| ALPHABET.contains(byte))
}

pub fn accept(key: &str) -> String {
    base64(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()))
}
