//! What is to be sent: lines of the command line and of standard input.
use crate::{print::complain, session::Session};
use std::{
    io::{self, BufRead},
    iter,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tickwire::{CloseCode, CloseFrame};

/// Which lines, and what follows them.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) lines: Vec<String>,
    /// Whether those of standard input follow.
    pub(crate) stdin: bool,
    /// After the last line, how long the server has to be silent before the Close.
    pub(crate) wait: Duration,
    /// Whether the end of it all is no reason to close.
    pub(crate) stays: bool,
}

/// What a line of the input asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Close(Option<(CloseCode, String)>),
}

/// Whether a line of the input could not be understood, for the exit status.
static BAD_LINES: AtomicBool = AtomicBool::new(false);

pub(crate) fn had_bad_lines() -> bool {
    BAD_LINES.load(Ordering::Relaxed)
}

impl Input {
    /// Hands each command to `to` as its line comes; blocks meanwhile. The last is a Close, unless
    /// the connection [`stays`](Self::stays). Before it come the answers, if [`wait`](Self::wait)
    /// has them. Ends early where `to` says no.
    pub(crate) fn each(&self, session: &Session, mut to: impl FnMut(Command) -> bool) {
        let mut asked = false;
        for command in self.commands() {
            let last = matches!(command, Command::Close(_));
            if !to(command) || last {
                return;
            }
            asked = true;
        }
        if !self.stays {
            if asked && !self.wait.is_zero() {
                session.wait_for_silence(self.wait);
            }
            to(Command::quit());
        }
    }

    /// A line that is wrong gets an error and is skipped: in front of a terminal somebody will want
    /// to try again.
    fn commands(&self) -> impl Iterator<Item = Command> {
        let given = self.lines.iter().cloned().map(Ok);
        let read = self.stdin.then(|| io::stdin().lock().lines()).into_iter().flatten();
        let mut lines = given.chain(read);
        let mut ended = false;
        iter::from_fn(move || {
            while !ended {
                let command = match lines.next() {
                    None => return None,
                    Some(Ok(line)) => Command::parse(line),
                    Some(Err(error)) => {
                        // Beyond a line that is not UTF-8 there may be others.
                        ended = error.kind() != io::ErrorKind::InvalidData;
                        Err(format!("standard input: {error}"))
                    }
                };
                match command {
                    Ok(command) => return Some(command),
                    Err(error) => {
                        BAD_LINES.store(true, Ordering::Relaxed);
                        complain(format_args!("{error}"));
                    }
                }
            }
            None
        })
    }
}

impl Command {
    pub(crate) fn quit() -> Self {
        Self::Close(Some((CloseCode::NORMAL, String::new())))
    }

    fn parse(line: String) -> std::result::Result<Self, String> {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "/binary" => from_hex(rest).map(Self::Binary),
            "/ping" => Ok(Self::Ping),
            "/quit" => Ok(Self::quit()),
            "/close" if rest.is_empty() => Ok(Self::Close(None)),
            "/close" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                let number = code.parse().ok();
                let code = number
                    .and_then(CloseCode::new)
                    .ok_or_else(|| format!("/close: {code:?} is no code that may be sent"))?;
                if reason.len() > 123 {
                    return Err("/close: the reason is longer than 123 bytes".to_string());
                }
                Ok(Self::Close(Some((code, reason.to_string()))))
            }
            _ => match line.strip_prefix('/') {
                None => Ok(Self::Text(line)),
                Some(text) if text.starts_with('/') => Ok(Self::Text(text.to_string())),
                Some(_) => {
                    let word: String = word.chars().take(20).collect();
                    Err(format!("{word:?} is no command; for a text that begins with /, write //"))
                }
            },
        }
    }
}

/// The body of a Close.
pub(crate) fn close_frame(close: &Option<(CloseCode, String)>) -> Option<CloseFrame<'_>> {
    close.as_ref().map(|(code, reason)| CloseFrame::with_reason(*code, reason))
}

/// Digits in pairs, with blanks between them or not.
fn from_hex(text: &str) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut high = None;
    for digit in text.chars().filter(|c| !c.is_whitespace()) {
        let value = digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
        let value = value.ok_or_else(|| format!("/binary: {digit:?} is no hexadecimal digit"))?;
        match high.take() {
            None => high = Some(value),
            Some(high) => bytes.push(high << 4 | value),
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err("/binary: an odd number of digits".to_string()),
    }
}
