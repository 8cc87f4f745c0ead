//! The server's process, and what it tells of itself.
use crate::{
    bare,
    counts::{Counts, Failure},
    mix::LONGEST,
    verdict::Usage,
    watch::Watch,
};
use std::{
    fs,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};
use tickwire::{Config, deflate::Deflate};

/// The ports of a server.
pub(crate) type Served = Result<Vec<u16>, Failure>;

/// On so many ports: a closed connection keeps its pair of ports for a minute.
pub(crate) const LISTENERS: usize = 8;

/// What the server tells each second, on a line of stdout.
pub(crate) struct Line {
    pub(crate) usage: Usage,
    pub(crate) open: u64,
    pub(crate) messages: u64,
    pub(crate) errors: u64,
}

impl FromStr for Line {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Self, Failure> {
        let numbers: Vec<u64> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [heap, rss, descriptors, open, messages, errors] = numbers[..] else {
            return Err(format!("not what a server says: {line}").into());
        };
        Ok(Self { usage: Usage { heap, rss, descriptors }, open, messages, errors })
    }
}

/// What either end of a connection is set to.
pub(crate) fn config(deflate: bool) -> Config {
    Config {
        max_message: LONGEST,
        handshake_timeout: Duration::from_secs(30), // ten thousand may connect at once
        close_timeout: Duration::from_secs(30),
        deflate: deflate.then(Deflate::default),
        ..Config::default()
    }
}

/// Serves until stdin ends. The first line of stdout has the ports: that of [`bare::echo`], and the
/// server's.
pub(crate) fn run(watch: Watch, serve: impl FnOnce(&Arc<Counts>) -> Served) -> Result<(), Failure> {
    let counts = Arc::new(Counts {
        open: AtomicU64::new(0),
        messages: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        watch,
    });
    let bare = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut ports = vec![bare.local_addr()?.port()];
    ports.extend(serve(&counts)?);
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    println!("{}", ports.join(" "));
    bare::echo(bare, counts.clone())?; // before the first report, of which this connection is a part
    thread::spawn(move || while report(&counts).is_ok() {});
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn report(counts: &Counts) -> io::Result<()> {
    // First what has ended, then what it has left.
    let [open, messages, errors] =
        [&counts.open, &counts.messages, &counts.errors].map(|count| count.load(Relaxed));
    let Usage { heap, rss, descriptors } = Usage::now()?;
    writeln!(io::stdout(), "{heap} {rss} {descriptors} {open} {messages} {errors}")?;
    thread::sleep(Duration::from_secs(1));
    Ok(())
}

impl Usage {
    /// Memory and descriptors now.
    ///
    /// # Errors
    ///
    /// Where there is no `/proc` as Linux has it.
    pub(crate) fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let rss = field(&status, "VmRSS:").ok_or(io::ErrorKind::InvalidData)?;
        // One of them is the directory's own.
        let descriptors = fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
        Ok(Self { heap: testkit::alloc::live_everywhere() as u64 / 1024, rss, descriptors })
    }
}

/// How many descriptors this process may have, if that is limited.
pub(crate) fn most_descriptors() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
