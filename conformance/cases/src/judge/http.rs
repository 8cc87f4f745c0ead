//! Heads of HTTP/1.1 (RFC 9112) and the headers of an opening handshake.

use super::Violation;

/// A request or status line and its fields. Each char is one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request line or status line.
    pub start: String,
    /// Names and values, without the blanks around values.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The head at the start of `bytes` and its length; `None` if its end isn't there.
    ///
    /// # Errors
    ///
    /// What breaks the grammar.
    pub fn read(bytes: &[u8]) -> Result<Option<(Head, usize)>, Violation> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text: String = bytes[..end].iter().map(|&byte| char::from(byte)).collect();
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed(format!("a header line without a colon: {line:?}")))?;
            if !is_token(name) {
                return Err(malformed(format!("no header name: {name:?}")));
            }
            let value = value.trim_matches([' ', '\t']);
            if value.chars().any(|c| c.is_ascii_control() && c != '\t') {
                return Err(malformed(format!("a control character in {name}")));
            }
            fields.push((name.to_owned(), value.to_owned()));
        }
        Ok(Some((Head { start, fields }, end + 4)))
    }

    /// The values of all lines of this name, ignoring case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |f| f.0.eq_ignore_ascii_case(name)).map(|f| f.1.as_str())
    }

    /// The value, if there is exactly one line of this name.
    pub fn one<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// The elements of a comma-separated list over all its lines, without empty ones.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let elements = self.all(name).flat_map(|value| value.split(','));
        elements.map(|element| element.trim_matches([' ', '\t'])).filter(|e| !e.is_empty())
    }

    /// Whether such a list has the element, ignoring case.
    pub fn lists(&self, name: &str, element: &str) -> bool {
        self.list(name).any(|one| one.eq_ignore_ascii_case(element))
    }

    /// The version of a status line and its status.
    pub fn status(&self) -> Option<(&str, u16)> {
        let (version, rest) = self.start.split_once(' ')?;
        let status = rest.get(..3)?;
        let ends = matches!(rest.as_bytes().get(3), None | Some(b' '));
        let digits = status.bytes().all(|byte| byte.is_ascii_digit());
        (version.starts_with("HTTP/") && ends && digits)
            .then(|| status.parse().ok().map(|status| (version, status)))?
    }

    /// Method, target and version of a request line.
    pub fn request(&self) -> Option<(&str, &str, &str)> {
        let mut parts = self.start.split(' ');
        let method = parts.next()?;
        let target = parts.next()?;
        let version = parts.next()?;
        parts.next().is_none().then_some((method, target, version))
    }
}

fn malformed(what: String) -> Violation {
    // A sender MUST NOT generate what does not match the grammar.
    Violation::new("RFC 9110 2.2", 0, what)
}

/// Whether `text` is a token (RFC 9110 5.6.2).
pub fn is_token(text: &str) -> bool {
    let char_fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(char_fits)
}

/// An element of Sec-WebSocket-Extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its parameters; quotes are removed.
    pub parameters: Vec<(String, Option<String>)>,
}

/// The extensions that one line lists (RFC 6455 9.1).
///
/// # Errors
///
/// What breaks the grammar.
pub fn extensions(line: &str) -> Result<Vec<Extension>, Violation> {
    let bad = |what: &str| Violation::new("RFC 6455 9.1", 0, format!("{what} in {line:?}"));
    let mut extensions = Vec::new();
    for element in split_unquoted(line, ',').ok_or_else(|| bad("an open quote"))? {
        let element = element.trim_matches([' ', '\t']);
        if element.is_empty() {
            continue;
        }
        let parts = split_unquoted(element, ';').ok_or_else(|| bad("an open quote"))?;
        let mut parts = parts.into_iter().map(|part| part.trim_matches([' ', '\t']));
        let name = parts.next().unwrap_or_default();
        if !is_token(name) {
            return Err(bad("no extension name"));
        }
        let mut parameters = Vec::new();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (part, None),
            };
            let name = name.trim_matches([' ', '\t']);
            if !is_token(name) {
                return Err(bad("no parameter name"));
            }
            let value = value.map(|value| unquote(value.trim_matches([' ', '\t'])));
            if value.as_ref().is_some_and(|value| !is_token(value)) {
                return Err(bad("a value that is no token"));
            }
            parameters.push((name.to_owned(), value));
        }
        extensions.push(Extension { name: name.to_owned(), parameters });
    }
    Ok(extensions)
}

/// Splits outside of quoted strings; `None` if a quote stays open.
fn split_unquoted(text: &str, at: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        } else if c == at && !quoted {
            parts.push(&text[start..index]);
            start = index + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut plain = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    plain
}
