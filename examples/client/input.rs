//! The input: lines of the command line, or of standard input.
use crate::complain;
use std::{
    io::{self, BufRead},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};
use tickwire::{CloseCode, OwnedCloseFrame};

/// The lines, and what to do after them.
#[derive(Clone)]
pub(crate) struct Input {
    /// The lines of the command line. If there are none, standard input is read.
    pub(crate) lines: Vec<String>,
    /// Whether the connection stays open after the last line.
    pub(crate) stays: bool,
}

/// What a line of the input asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Close(Option<OwnedCloseFrame>),
}

/// Whether a line of the input was invalid. The exit status shows this.
static BAD_LINES: AtomicBool = AtomicBool::new(false);

pub(crate) fn had_bad_lines() -> bool {
    BAD_LINES.load(Relaxed)
}

impl Input {
    /// Hands each command to `to` as its line comes; blocks until then. The last command is a
    /// Close, unless the connection [`stays`](Self::stays). Ends early if `to` returns `false`.
    ///
    /// An invalid line gets an error and is skipped: a person at a terminal wants to try again.
    pub(crate) fn each(self, mut to: impl FnMut(Command) -> bool) {
        let read = self.lines.is_empty().then(|| io::stdin().lock().lines());
        for line in self.lines.into_iter().map(Ok).chain(read.into_iter().flatten()) {
            let goes_on = matches!(&line, Err(error) if error.kind() == io::ErrorKind::InvalidData);
            let read = line.map_err(|error| (format!("standard input: {error}"), goes_on));
            match read.and_then(|line| Command::parse(line).map_err(|error| (error, true))) {
                Ok(command) => {
                    let last = matches!(command, Command::Close(_));
                    if !to(command) || last {
                        return;
                    }
                }
                Err((error, goes_on)) => {
                    BAD_LINES.store(true, Relaxed);
                    complain(format_args!("{error}"));
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        if !self.stays {
            to(Command::quit());
        }
    }
}

impl Command {
    pub(crate) fn quit() -> Self {
        Self::Close(Some(CloseCode::NORMAL.into()))
    }

    fn parse(line: String) -> Result<Self, String> {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "/binary" => from_hex(rest).map(Self::Binary),
            "/ping" => Ok(Self::Ping),
            "/quit" => Ok(Self::quit()),
            "/close" if rest.is_empty() => Ok(Self::Close(None)),
            "/close" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                let number = code.parse().ok().and_then(CloseCode::new);
                let number = number
                    .ok_or_else(|| format!("/close: {code:?} is no code that may be sent"))?;
                if reason.len() > 123 {
                    return Err("/close: the reason is longer than 123 bytes".to_owned());
                }
                Ok(Self::Close(Some(OwnedCloseFrame { code: number, reason: reason.to_owned() })))
            }
            _ => match line.strip_prefix('/') {
                None => Ok(Self::Text(line)),
                Some(text) if text.starts_with('/') => Ok(Self::Text(text.to_owned())),
                Some(_) => {
                    let word: String = word.chars().take(20).collect();
                    Err(format!("{word:?} is no command; for a text that begins with /, write //"))
                }
            },
        }
    }
}

/// Parses hexadecimal digits in pairs. Blanks may stand between them.
fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digit = |c: char| c.to_digit(16).ok_or_else(|| format!("/binary: {c:?} is no hex digit"));
    let digits = text.chars().filter(|c| !c.is_whitespace()).map(digit);
    let digits = digits.collect::<Result<Vec<_>, _>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("/binary: an odd number of digits".to_owned());
    }
    Ok(pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}
