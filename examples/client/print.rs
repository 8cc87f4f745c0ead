//! How things look: escaped, binary in hex.
use std::{
    error::Error,
    fmt,
    io::{self, Write},
    time::Duration,
};

/// One line on standard output.
pub(crate) fn print(line: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{line}").map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::other(Unread),
        _ => error,
    })
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

/// Whether it says that nobody reads what is printed.
pub(crate) fn is_unread(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is_some_and(|error| error.is::<Unread>())
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

pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One line on standard error.
pub(crate) fn complain(line: fmt::Arguments<'_>) {
    say("error: ", line);
}

/// As [`complain`], of what is no error.
pub(crate) fn warn(line: fmt::Arguments<'_>) {
    say("warning: ", line);
}

/// As [`complain`], of what `--verbose` asks for.
pub(crate) fn tell(line: fmt::Arguments<'_>) {
    say("* ", line);
}

fn say(what: &str, line: fmt::Arguments<'_>) {
    arguments::log(format_args!("{what}{line}"));
}
