//! Many connections, coming and going, for a long time: does anything fail, leak or grow?
//!
//! ```text
//! ulimit -n 20000
//! cargo run --release -p soak
//! ```
//!
//! A server in one process, clients in another, on the loopback interface. Two products:
//!
//! | `--product` | the server |
//! |---|---|
//! | `tokio` | echoes, under tokio (`on_tokio`) |
//! | `loop`  | the same, on `tickwire-loop` (`on_loop`) |
//!
//! The clients are tasks that send a mix of messages and check each echo (`client`).
//!
//! Connections end in every way there is, and are replaced. Each ten seconds there is a line, in
//! the end a summary and the verdict, which is also the exit code. A run is sound if
//!
//! - there was no error: nothing was lost, repeated or out of order;
//! - memory and descriptors stayed flat: after the first minute, the median of the last third is at
//!   most 5 % and 4 MiB of heap, or 16 descriptors, above that of the first; 20 % and 4 MiB of
//!   what is resident;
//! - a round trip stayed as quick: the p99 in the quickest window of the last third is at most five times that in the median of the
//!   first; or as much more as bare TCP between the two processes took longer; below 5 ms in any
//!   case;
//! - all descriptors were given back, and nine tenths of the connections that were asked for held,
//!   and ended.
//!
//! A run shorter than four minutes settles for a quarter of its time. If a process stands still for
//! longer than `--heartbeat`, as on a machine that is suspended, its peers are right to give it up:
//! errors until five times as long after that are told, and do not count.
//!
//! Needs Linux, for what it knows about the processes.
mod bare;
mod client;
mod counts;
mod mix;
mod on_loop;
mod on_tokio;
mod server;
mod tally;
mod verdict;
mod watch;

use arguments::Arguments;
use bare::Bare;
use client::{Clients, Load};
use counts::Failure;
use server::Line;
use std::{
    env,
    io::{self, BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tally::{Counts, Tally};
use tickwire::Heartbeat;
use tokio::runtime::{Builder, Runtime};
use verdict::{History, Measure, Run, Usage, Window};
use watch::Watch;

/// Counts what is in use of the heap. Resident memory has the holes between that too, which come
/// and go with no leak.
#[global_allocator]
static HEAP: testkit::alloc::Counting = testkit::alloc::Counting;

const HELP: &str = "\
Many connections, coming and going, for a long time: does anything fail, leak or grow?

Usage: soak [OPTION]...

  --product NAME    tokio or loop [tokio]
  --connections N   how many at once [10000]; each process needs as many descriptors and
                    a fifth more
  --churn N         how many end, and are replaced, a second [500]
  --seconds N       how long [600]
  --rate N          exchanges a second on each connection [1]
  --deflate PERCENT how many compress [10]
  --heartbeat N     seconds without a byte until a Ping, and until it is too late [20]
  --report N        seconds between lines [10]
  --serve           be the server's process
  --help            this text
";

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Product {
    Tokio,
    Loop,
}

struct Options {
    product: Product,
    connections: usize,
    churn: f64,
    seconds: f64,
    rate: f64,
    deflate: usize,
    heartbeat: f64,
    report: u64,
    /// This is the server's process.
    serve: bool,
}

fn options() -> Options {
    let args = Arguments::read(HELP);
    let sane = |name| args.number(name, 0.001..=1e6);
    Options {
        product: args.one_of("--product", &[("tokio", Product::Tokio), ("loop", Product::Loop)]),
        connections: args.number("--connections", 1..=1_000_000),
        churn: sane("--churn"),
        seconds: sane("--seconds"),
        rate: sane("--rate"),
        deflate: args.number("--deflate", 0..=100),
        heartbeat: sane("--heartbeat"),
        report: args.number("--report", 1..=86_400),
        serve: args.has("--serve"),
    }
}

impl Options {
    fn load(&self) -> Load {
        Load {
            connections: self.connections,
            churn: self.churn,
            duration: Duration::from_secs_f64(self.seconds),
            rate: self.rate,
            deflate: self.deflate,
            heartbeat: {
                let time = Duration::from_secs_f64(self.heartbeat);
                Heartbeat::new(time, time)
            },
        }
    }

    fn watch(&self) -> Watch {
        Watch::new(Duration::from_secs_f64(self.heartbeat))
    }

    /// What the server's process needs to know of them.
    fn for_server(&self) -> Vec<String> {
        let Self { product, heartbeat, .. } = self;
        let product = format!("{product:?}").to_lowercase();
        format!("--serve --product {product} --heartbeat {heartbeat}")
            .split(' ')
            .map(str::to_owned)
            .collect()
    }
}

/// Of either process: half of the processors.
fn runtime() -> io::Result<Runtime> {
    let threads = thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// The server's process, which ends with the pipe to its stdin.
struct Server {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    ports: Vec<u16>,
}

impl Server {
    fn start(options: &Options) -> Result<Self, Failure> {
        let mut child = Command::new(env::current_exe()?)
            .args(options.for_server())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().ok_or("the server has not started")??;
        let ports = first.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { child, lines, ports })
    }

    /// Waits for what it says next, about a second.
    fn line(&mut self) -> Result<Line, Failure> {
        self.lines.next().ok_or("the server has ended")??.parse()
    }

    fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        Ok(())
    }
}

/// What both ends are at, and have done so far: some lines each few seconds.
fn report(at: Duration, counts: &Counts, server: &Line, own: &Usage, window: &Window) {
    let Counts { open, connects, messages, errors, .. } = counts;
    println!(
        "{:>5.0} s: {open} open, {connects} connects, {messages} messages, {} errors",
        at.as_secs_f64(),
        errors + server.errors,
    );
    for (name, Usage { heap, rss, descriptors }) in [("server", &server.usage), ("clients", own)] {
        println!("    {name}: heap {heap} KiB, RSS {rss} KiB, {descriptors} descriptors");
    }
    if let (Some([p50, p99]), Some([bare50, bare99])) = (window.ours, window.bare) {
        println!("    p50 {p50} µs, p99 {p99} µs; over bare TCP {bare50} µs, {bare99} µs");
    }
}

/// Beyond that the server has lost connections.
const PATIENCE: Duration = Duration::from_secs(90);

fn run(options: &Options) -> Result<Vec<String>, Failure> {
    let needed = (options.connections + options.connections / 5) as u64 + 64;
    if let Some(most) = server::most_descriptors().filter(|&most| most < needed) {
        return Err(format!("{most} descriptors are too few: ulimit -n {needed}").into());
    }
    let runtime = runtime()?;
    let mut server = Server::start(options)?;
    let (bare_port, ports) = server.ports.split_first().ok_or("the server has no port")?;
    let tally = Arc::new(Tally::new(options.watch())?);
    let bare = Bare::connect(*bare_port, tally.clone())?;
    let ports = ports.to_vec();
    let start = server.line()?.usage;
    let own = Usage::now()?;
    let history =
        |name, usage| History { name, before: usage, during: Vec::new(), after: usage, errors: 0 };
    let mut processes = [history("server", start), history("clients", own)];
    let began = Instant::now();
    let clients = Clients::new(options.load(), &ports, tally.clone())?;
    let task = runtime.spawn(clients.run());
    let mut ended = None;
    let mut held = Vec::new();
    let mut windows = Vec::new();
    let mut lines = 0_u64;
    let line = loop {
        let line = server.line()?;
        let (at, own) = (began.elapsed(), Usage::now()?);
        if (verdict::settled(options.seconds)..options.seconds).contains(&at.as_secs_f64()) {
            held.push(tally.lock().open as f64);
        }
        lines += 1;
        if lines.is_multiple_of(options.report) {
            let mut counts = tally.lock();
            let window = Window { ours: counts.times.take(), bare: bare.take() };
            report(at, &counts, &line, &own, &window);
            windows.push((at.as_secs_f64(), window));
        }
        for (process, usage) in processes.iter_mut().zip([line.usage, own]) {
            process.after = usage;
            process.during.push((at.as_secs_f64(), usage));
        }
        if task.is_finished() {
            // Once more after the end: the samples are to be what it left behind.
            let since = ended.get_or_insert(at);
            if at > *since && (line.open == 0 || at > *since + PATIENCE) {
                break line;
            }
        }
    };
    server.stop()?;
    runtime.block_on(task).map_err(|_| "the clients have panicked")?;
    let Watch { excused, standstills, .. } = &tally.watch;
    println!("\nthe machine stood still {standstills:?} times; {excused:?} errors are of that");
    let tally = tally.lock();
    processes[0].errors = line.errors;
    processes[1].errors = tally.errors;
    let run = Run {
        seconds: options.seconds,
        connections: options.connections as f64,
        held: held.iter().sum::<f64>() / held.len().max(1) as f64,
        asked: options.churn * options.seconds,
        ended: tally.ended.values().sum(),
        left: line.open,
        processes,
        windows,
    };
    summary(&run, &tally, &line);
    Ok(run.complaints())
}

fn summary(run: &Run, tally: &Counts, line: &Line) {
    let Run { seconds, ended, held, .. } = run;
    println!();
    println!("{held:.0} connections held, in the mean after {:.0} s", verdict::settled(*seconds));
    println!("{} connects, {} messages received", tally.connects, tally.messages);
    println!("{} messages of the server, in all", line.messages);
    println!("{ended} connections ended in {seconds} s, {:.1} a second:", *ended as f64 / seconds);
    for (way, count) in &tally.ended {
        println!("  {way:<14} {count:>9}");
    }
    for (kind, count) in &tally.exchanges {
        println!("  {kind:<14} {count:>9} exchanges");
    }
    for process in &run.processes {
        let History { name, before, after, errors, .. } = process;
        println!(
            "{name}: {errors} errors; {} descriptors before, {} after",
            before.descriptors, after.descriptors
        );
        for measure in &verdict::MEASURES {
            let Measure { name, unit, of, .. } = measure;
            let [first, last] = process.medians(*seconds, measure).unwrap_or_default();
            println!(
                "  {name}: {first}{unit} after {:.0} s, {last}{unit} in the last third, {}{unit} in \
                 the end",
                verdict::settled(*seconds),
                of(after)
            );
        }
    }
    if let Some([ours, bare]) = run.p99s() {
        println!("p99: {ours:?} µs in the first and the last third, over bare TCP {bare:?} µs");
    }
}

fn serve(options: &Options) -> Result<(), Failure> {
    let runtime = runtime()?;
    let config = options.load().config(true);
    server::run(options.watch(), |counts| match options.product {
        Product::Tokio => on_tokio::run(&runtime, config, counts),
        Product::Loop => on_loop::run(config, counts),
    })
}

fn main() -> ExitCode {
    let done = match options() {
        options if options.serve => serve(&options).map(|()| Vec::new()),
        options => run(&options).inspect(|complaints| {
            println!("{}", if complaints.is_empty() { "sound" } else { "NOT sound:" });
        }),
    };
    match done {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) => {
            complaints.iter().for_each(|complaint| println!("  {complaint}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
