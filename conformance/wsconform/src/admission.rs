//! What a server wants to see before it opens a connection. All of it may be secret, so no report
//! has it, though a server may repeat it.

use crate::{Error, options::Options};
use wsconform_cases::{
    Verdict,
    judge::{
        accept::base64,
        http::{Head, is_token},
    },
    report::Report,
};

/// Header fields that the cases write themselves.
const OF_CASES: [&str; 8] = [
    "host",
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "content-length",
    "transfer-encoding",
];

/// A part of a value is hidden if it has so many bytes: a shorter one stands in any text.
const PART: usize = 8;

#[derive(Default)]
pub(crate) struct Admission {
    /// The header lines that each request gets.
    pub(crate) fields: Vec<(String, String)>,
    /// What no report has, the longest first, as text and in hexadecimal.
    hidden: Vec<String>,
}

impl Admission {
    /// What the options ask for, and `USER:PASSWORD` in a URL.
    pub(crate) fn new(options: &Options, credentials: Option<&str>) -> Result<Admission, Error> {
        let mut admission = Admission::default();
        for header in &options.headers {
            let bad = || Error::from(format!("--header {header}: it takes 'NAME: VALUE'"));
            let (name, value) = header.split_once(':').ok_or_else(bad)?;
            let value = value.trim();
            if !is_token(name) || value.chars().any(char::is_control) {
                return Err(bad());
            }
            if OF_CASES.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(format!("--header {name}: the cases write that themselves").into());
            }
            admission.add(name, value);
        }
        if let Some(bad) = options.subprotocols.iter().find(|name| !is_token(name)) {
            return Err(format!("--subprotocol {bad}: it takes the name of one").into());
        }
        if !options.subprotocols.is_empty() {
            admission.add("Sec-WebSocket-Protocol", &options.subprotocols.join(", "));
        }
        if let Some(origin) = &options.origin {
            if origin.is_empty() || origin.chars().any(|c| c.is_control() || c == ' ') {
                return Err("--origin takes one such as https://example.com".into());
            }
            admission.add("Origin", origin);
        }
        if let Some(credentials) = credentials {
            let plain = unescaped(credentials).ok_or("a % without two digits in the URL")?;
            admission.add("Authorization", &format!("Basic {}", base64(&plain)));
            let plain = String::from_utf8_lossy(&plain);
            admission.hide(plain.split_once(':').map_or(&plain, |(_, password)| password));
        }
        admission.hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Ok(admission)
    }

    fn add(&mut self, name: &str, value: &str) {
        self.fields.push((name.to_owned(), value.to_owned()));
        self.hide(value);
        let parts = value.split([' ', ',', ';', '=', '"']).filter(|part| part.len() >= PART);
        parts.for_each(|part| self.hide(part));
    }

    fn hide(&mut self, text: &str) {
        if text.len() > 2 {
            self.hidden.push(text.to_owned());
            self.hidden.push(text.bytes().map(|byte| format!("{byte:02x}")).collect());
        }
    }

    /// The text with stars for what is hidden.
    pub(crate) fn without(&self, text: &str) -> String {
        let starred =
            |text: String, secret: &String| text.replace(secret, &"*".repeat(secret.len()));
        self.hidden.iter().fold(text.to_owned(), starred)
    }

    /// The report with stars for what is hidden, in all that comes from the target.
    pub(crate) fn report_without(&self, mut report: Report) -> Report {
        let rows = report.rows.iter_mut().flat_map(|row| {
            let told = match &mut row.verdict {
                Verdict::Fail { why, evidence, .. } => vec![why, evidence],
                Verdict::Note { why } | Verdict::Unsteady { why } | Verdict::Untested { why } => {
                    vec![why]
                }
                Verdict::Skip { cause } => vec![cause],
                Verdict::Pass | Verdict::Waiting => Vec::new(),
            };
            told.into_iter().chain(&mut row.remarks)
        });
        let stopped = report.stopped.iter_mut().map(|stop| &mut stop.why);
        for text in rows.chain(&mut report.peer.fault).chain(stopped) {
            *text = self.without(text);
        }
        report
    }
}

/// The bytes of percent-encoded text.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let [high, low] = [digit(rest.next())?, digit(rest.next())?];
        bytes.push((high << 4 | low) as u8);
    }
    Some(bytes)
}

/// What may help with a server that has refused a plain opening by this response.
pub(crate) fn advice(response: &Head) -> String {
    let status = response.status().map_or(0, |(_, status)| status);
    match (status, response.one("Location")) {
        (300..400, Some(location)) => format!("; it redirects: test {location} instead"),
        (401, _) => "; for a token there is --header 'Authorization: Bearer ..', for a password \
                     USER:PASSWORD@ before the host"
            .to_owned(),
        (403, _) => "; --origin, or --header with a token or cookie, may help".to_owned(),
        (400 | 426, _) => "; --subprotocol, or --header, may help".to_owned(),
        _ => String::new(),
    }
}
