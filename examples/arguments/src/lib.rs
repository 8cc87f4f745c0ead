//! The command line of an example. Only the text of its help describes it:
//!
//! ```text
//! An echo server.
//!
//! Usage: echo [OPTION]... [ADDR]
//!
//!   ADDR            where to listen [127.0.0.1:9001]
//!   --header 'K: V' an option with a value; again for more
//!   --verbose, -v   an option without
//!   --help          this text
//! ```
//!
//! A line that begins with two blanks and an option, or with a word in capitals, says what may be
//! given. An option takes a value if a word that is no option stands before the next two blanks. A
//! word with `...` may be given again. The default is the last text in `[]` before the next such
//! line.
//!
//! A mistake ends the program with one line on standard error and exit code 2.
#[cfg(feature = "tokio")]
pub mod serve;

use lexopt::{Arg, Parser, ValueExt};
use std::{
    error::Error,
    ffi::OsString,
    fmt::{self, Display},
    io::{self, Write},
    net::{SocketAddr, ToSocketAddrs},
    ops::RangeInclusive,
    process::exit,
    str::FromStr,
    time::Duration,
};

/// What the command line says.
///
/// The name of a value is its name in the help, such as `--rate` or `ADDR`.
pub struct Arguments(Vec<Item>);

/// What may be given.
#[derive(Default)]
struct Item {
    /// All names of an option, or the one name of a word.
    names: Vec<&'static str>,
    takes_value: bool,
    is_word: bool,
    /// Whether the word may be given again. An option always may.
    repeats: bool,
    default: Option<&'static str>,
    given: Vec<String>,
}

impl Item {
    /// `None` for a line that describes nothing. The line comes without its first two blanks.
    fn new(line: &'static str) -> Option<Self> {
        let head = line.split("  ").next()?.split_whitespace();
        let (names, others): (Vec<_>, Vec<_>) =
            head.map(|word| word.trim_end_matches(',')).partition(|word| word.starts_with('-'));
        if !names.is_empty() {
            return Some(Self { names, takes_value: !others.is_empty(), ..Self::default() });
        }
        let [word] = others[..] else { return None };
        let name = word.trim_end_matches("...");
        let is_word = name.bytes().all(|byte| byte.is_ascii_uppercase());
        let repeats = name != word;
        is_word.then(|| Self { names: vec![name], is_word, repeats, ..Self::default() })
    }

    fn all(help: &'static str) -> Vec<Self> {
        let mut items: Vec<Self> = Vec::new();
        let mut within = false;
        for line in help.lines() {
            let item = line.strip_prefix("  ").and_then(Self::new);
            within = item.is_some() || within && line.starts_with("   ");
            items.extend(item);
            let default = line.rsplit_once('[').and_then(|(_, rest)| rest.split_once(']'));
            if let (true, Some((default, _)), Some(last)) = (within, default, items.last_mut()) {
                last.default = Some(default);
            }
        }
        items
    }
}

impl Arguments {
    /// Reads this program's arguments. If they ask for help, prints it and ends the program.
    pub fn read(help: &'static str) -> Self {
        match Self::parse(help, std::env::args_os().skip(1)) {
            Ok(Some(arguments)) => arguments,
            Ok(None) => {
                let _ = io::stdout().write_all(help.as_bytes()); // nobody may be reading
                exit(0)
            }
            Err(error) => refuse(error),
        }
    }

    /// `None` if help was asked for.
    fn parse<A>(help: &'static str, given: A) -> Result<Option<Self>, lexopt::Error>
    where
        A: IntoIterator<Item = OsString, IntoIter: 'static>,
    {
        let mut items = Item::all(help);
        let mut parser = Parser::from_args(given);
        while let Some(argument) = parser.next()? {
            let (name, word) = match argument {
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Long(name) => (format!("--{name}"), None),
                Arg::Short(letter) => (format!("-{letter}"), None),
                Arg::Value(dash) if dash == "-" => ("-".to_owned(), None),
                Arg::Value(word) => (String::new(), Some(word.string()?)),
            };
            let item = items.iter_mut().find(|item| match word {
                Some(_) => item.is_word && (item.repeats || item.given.is_empty()),
                None => item.names.contains(&&*name),
            });
            let Some(item) = item else {
                return Err(match word {
                    Some(word) => format!("unexpected argument {word:?}").into(),
                    None => format!("unknown option {name}").into(),
                });
            };
            let value = match word {
                Some(word) => word,
                None if item.takes_value => parser.value()?.string()?,
                None => String::new(),
            };
            item.given.push(value);
        }
        Ok(Some(Self(items)))
    }

    fn item(&self, name: &str) -> Option<&Item> {
        self.0.iter().find(|item| item.names.contains(&name))
    }

    /// Whether the option or word was given.
    pub fn has(&self, name: &str) -> bool {
        self.item(name).is_some_and(|item| !item.given.is_empty())
    }

    /// Each value that was given; else the default, if there is one.
    pub fn all(&self, name: &str) -> Vec<String> {
        let Some(item) = self.item(name) else { return Vec::new() };
        match item.given.is_empty() {
            true => item.default.iter().map(|&text| text.to_owned()).collect(),
            false => item.given.clone(),
        }
    }

    /// The value that was given last, or the default.
    pub fn text(&self, name: &str) -> String {
        self.all(name).pop().unwrap_or_else(|| refuse(format_args!("{name} is missing")))
    }

    /// As [`text`](Self::text), or `None` if there is neither a value nor a default.
    pub fn optional(&self, name: &str) -> Option<String> {
        self.all(name).pop()
    }

    /// The text, converted by `read`. The error of `read` says what was expected.
    pub fn read_by<T, E: Display>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, E>) -> T {
        let text = self.text(name);
        read(&text).unwrap_or_else(|error| refuse(format_args!("{name} {text:?}: {error}")))
    }

    /// A number within bounds.
    pub fn number<T>(&self, name: &str, within: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let (from, to) = (within.start(), within.end());
        let expected = || format!("expected a number from {from} to {to}");
        let read = |text: &str| text.parse().ok().filter(|number| within.contains(number));
        self.read_by(name, |text| read(text).ok_or_else(expected))
    }

    /// A time in seconds, within bounds. Fractions are allowed.
    pub fn seconds(&self, name: &str, within: RangeInclusive<f64>) -> Duration {
        Duration::from_secs_f64(self.number(name, within))
    }

    /// The value for the text, which must be one of the `known` names.
    pub fn one_of<T: Copy>(&self, name: &str, known: &[(&str, T)]) -> T {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let expected = || format!("expected {}", names.join(" or "));
        let find = |text: &str| known.iter().find(|(name, _)| *name == text);
        self.read_by(name, |text| find(text).map(|(_, value)| *value).ok_or_else(expected))
    }

    /// The address to listen at, given as numbers or as a name. If a name has several addresses,
    /// this is an IPv4 address, because a client that tries only one address tries IPv4.
    pub fn address(&self, name: &str) -> SocketAddr {
        self.read_by(name, |text| {
            let found = text.to_socket_addrs().map(Vec::from_iter);
            let found =
                found.map_err(|error| format!("expected an address and a port ({error})"))?;
            let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
            first.copied().ok_or_else(|| "no such address".to_owned())
        })
    }
}

/// Writes one line to standard error. It is no error if nobody reads the line. One call writes the
/// whole line: standard error has no buffer, so each part of a formatted text would take a call.
///
/// The text of tickwire's errors is safe to print: text that came from a peer is escaped and cut.
pub fn log(line: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Ends the program, because its command line makes no sense.
pub fn refuse(why: impl Display) -> ! {
    log(format_args!("error: {why}; see --help"));
    exit(2)
}

/// Adds the address to the error of a server that cannot listen at this address.
pub fn cannot_listen(address: impl Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| {
        let text = match error.kind() {
            io::ErrorKind::AddrInUse => format!("{address} is in use by another program"),
            _ => format!("{address}: {error}"),
        };
        io::Error::new(error.kind(), text)
    }
}

/// Why a program has failed. If `main` returns it, it is shown as one line of text.
pub struct Failure(Box<dyn Error>);

impl<E: Into<Box<dyn Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The standard library prints this if `main` returns the error.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HELP: &str = "\
What it is [no default].

Usage: it [OPTION]... URL [MESSAGE]...
       it -

  URL             where to [ws://localhost]
  MESSAGE...      what to say
  -               and standard input

  --header 'K: V' again for more
  --rate N        behind [1]
                  a line [2]; and not before
  --verbose, -v   more

CPU per tick
  CPU per tick    is no word [3]
  0  nor is this
";

    fn given(line: &str) -> Result<Option<Arguments>, String> {
        let words = Vec::from_iter(line.split_whitespace().map(OsString::from));
        Arguments::parse(HELP, words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_help_says_what_there_is_and_what_is_so_by_default() {
        let empty = given("").unwrap().unwrap();
        let names = Vec::from_iter(empty.0.iter().map(|item| item.names.join(" ")));
        assert_eq!(names, ["URL", "MESSAGE", "-", "--header", "--rate", "--verbose -v"]);
        assert_eq!((&*empty.text("URL"), empty.number("--rate", 0..=9)), ("ws://localhost", 2));
        assert!(!empty.has("URL") && !empty.has("--verbose") && empty.all("MESSAGE").is_empty());
    }

    #[test]
    fn words_options_and_their_values_are_told_apart() {
        let line = "-v a --rate=7 b --header x --header -1 - c -- --rate";
        let all = given(line).unwrap().unwrap();
        assert_eq!((&*all.text("URL"), all.all("MESSAGE").join(" ")), ("a", "b c --rate".into()));
        assert_eq!(all.all("--header"), ["x", "-1"]);
        assert!(all.has("--verbose") && all.has("-v") && all.has("-"));
        assert_eq!(all.number("--rate", 7..=7), 7);
    }

    #[test]
    fn what_is_not_in_the_help_is_refused() {
        assert!(given("--help").unwrap().is_none() && given("a -h --nosuch").unwrap().is_none());
        for (line, says) in [
            ("--nosuch", "unknown option --nosuch"),
            ("-x", "unknown option -x"),
            ("--rate", "missing argument for option '--rate'"),
            ("-v=1", "unexpected argument for option '-v': \"1\""),
        ] {
            assert_eq!(given(line).err().as_deref(), Some(says));
        }
        let one = "Usage: it [A]\n\n  A  one\n";
        let two = Arguments::parse(one, ["a".into(), "b".into()]);
        assert_eq!(two.err().unwrap().to_string(), "unexpected argument \"b\"");
    }
}
