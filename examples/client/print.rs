//! How things look: escaped, in colours or not, binary in hex.
use crate::Result;
use arguments::Arguments;
use std::{
    env,
    error::Error,
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write},
    time::Duration,
};
use tickwire::{Closed, Message};

/// How much of a binary message a dump shows, in bytes.
const SHOWN: usize = 256;

/// How much of it a line of a dump shows.
const ROW: usize = 16;

/// What is printed of messages, and how.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    quiet: bool,
    dump: bool,
    full: bool,
    colors: bool,
}

/// Escape sequences of terminals (ECMA-48, SGR).
#[derive(Clone, Copy)]
enum Color {
    Red = 31,
    Yellow = 33,
    Cyan = 36,
    Gray = 90,
}

/// What is shown in a colour, or not.
struct Painted<T>(Option<Color>, T);

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => self.1.fmt(f),
            Some(color) => write!(f, "\x1b[{}m{}\x1b[0m", color as u8, self.1),
        }
    }
}

impl Look {
    pub(crate) fn new(args: &Arguments) -> Self {
        let terminal = io::stdout().is_terminal();
        let dump = match args.has("--view") {
            true => args.one_of("--view", &[("line", false), ("dump", true)]),
            false => terminal,
        };
        let colors = [("auto", terminal && may_color()), ("always", true), ("never", false)];
        let colors = args.one_of("--color", &colors);
        Self { quiet: args.has("--quiet"), dump, full: args.has("--full"), colors }
    }

    fn paint<T>(&self, color: Color, what: T) -> Painted<T> {
        Painted(self.colors.then_some(color), what)
    }

    pub(crate) fn message(&self, message: Message<'_>) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        printed(match message {
            Message::Text(text) => writeln!(out, "{}", self.paint(Color::Cyan, Shown(text))),
            Message::Binary(bytes) if self.dump => self.dump(&mut out, bytes),
            Message::Binary(bytes) => {
                writeln!(out, "{}", self.paint(Color::Cyan, format_args!("binary: {}", Hex(bytes))))
            }
        })
    }

    fn dump(&self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        let title = format!("binary: {} bytes", bytes.len());
        writeln!(out, "{}", self.paint(Color::Gray, title))?;
        let shown = if self.full { bytes } else { bytes.get(..SHOWN).unwrap_or(bytes) };
        for (i, row) in shown.chunks(ROW).enumerate() {
            let offset = self.paint(Color::Gray, format!("{:08x}", i * ROW));
            writeln!(out, "{offset}  {}", self.paint(Color::Cyan, Row(row)))?;
        }
        match bytes.len() - shown.len() {
            0 => Ok(()),
            rest => {
                let cut = format!(".. and {rest} bytes more: --full");
                writeln!(out, "{}", self.paint(Color::Gray, cut))
            }
        }
    }

    pub(crate) fn pong(&self, took: Duration) -> io::Result<()> {
        self.note(format_args!("pong {:.1} ms", millis(took)))
    }

    /// What the server chose of the subprotocols that it was offered.
    pub(crate) fn subprotocol(&self, name: &str) -> io::Result<()> {
        self.note(format_args!("subprotocol: {name}"))
    }

    /// The peer's Close, which was answered or is the answer.
    pub(crate) fn close(&self, end: Closed<'_>) -> Result<()> {
        let mut line = format!("closed: {}", end.code);
        if !end.reason.is_empty() {
            write!(line, " {}", Shown(end.reason))?;
        }
        Ok(self.note(format_args!("{line} (clean)"))?)
    }

    /// A line of our own among what arrives.
    pub(crate) fn note(&self, line: fmt::Arguments<'_>) -> io::Result<()> {
        printed(writeln!(io::stdout(), "{}", self.paint(Color::Gray, line)))
    }
}

/// Nobody reads standard output any more (`client .. | head -1`), which is no fault of the
/// connection's.
#[derive(Debug)]
struct Unread;

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads standard output")
    }
}

impl Error for Unread {}

fn printed(result: io::Result<()>) -> io::Result<()> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::other(Unread),
        _ => error,
    })
}

/// Whether it says that nobody reads what is printed.
pub(crate) fn is_unread(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is_some_and(|error| error.is::<Unread>())
}

/// What environment variables say about it: <https://no-color.org>.
fn may_color() -> bool {
    let unset = |name| env::var_os(name).is_none_or(|value| value.is_empty());
    unset("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Text from a peer, with everything escaped that could move the cursor, start a line or reorder
/// what stands beside it.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_hostile(c)) {
            let (before, from) = rest.split_at(at);
            write!(f, "{before}{}", c.escape_default())?;
            rest = from.strip_prefix(c).unwrap_or_default();
        }
        f.write_str(rest)
    }
}

fn is_hostile(c: char) -> bool {
    let directs = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
    c.is_control() || directs || matches!(c, '\u{2066}'..='\u{2069}')
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes in hex, in two groups, and as ASCII where they are.
struct Row<'a>(&'a [u8]);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for i in 0..ROW {
            let gap = if i + 1 == ROW / 2 { "  " } else { " " };
            match self.0.get(i) {
                Some(byte) => write!(f, "{byte:02x}{gap}")?,
                None => write!(f, "  {gap}")?,
            }
        }
        let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { *byte } else { b'.' };
        write!(f, " |{}|", self.0.iter().map(|byte| shown(byte) as char).collect::<String>())
    }
}

/// One line on standard error.
pub(crate) fn complain(line: fmt::Arguments<'_>) {
    say(Color::Red, "error: ", line);
}

/// As [`complain`], of what is no error.
pub(crate) fn warn(line: fmt::Arguments<'_>) {
    say(Color::Yellow, "warning: ", line);
}

/// As [`complain`], of what `--verbose` asks for.
pub(crate) fn tell(line: fmt::Arguments<'_>) {
    say(Color::Gray, "* ", line);
}

fn say(color: Color, what: &str, line: fmt::Arguments<'_>) {
    let mut err = io::stderr().lock();
    let color = (err.is_terminal() && may_color()).then_some(color);
    let _ = writeln!(err, "{}{line}", Painted(color, what));
}
