//! Many connections, coming and going, for a long time: does anything fail, leak or grow?
//!
//! ```text
//! ulimit -n 20000
//! cargo run --release -p soak
//! ```
//!
//! A server in one process, clients in another, on the loopback interface. The clients send and
//! receive a mix of messages on all connections and check each echo; connections end in every way
//! there is and are replaced. Each ten seconds there is a line, in the end a summary and the
//! verdict, which is also the exit code: no error; memory flat after the first minute (in the last
//! third of the rest at most 4 MiB and 5 % of what is in use of the heap above the first third; 20
//! % of what is resident); all descriptors given back; nine tenths of the connections that were
//! asked for held, and ended. On a machine so busy that a process stands still for longer than
//! `--heartbeat`, its peers are right to give it up.
//!
//! Needs Linux, for what it knows about the processes.
#[path = "../../tests/support/alloc.rs"]
#[allow(dead_code, unreachable_pub)]
mod alloc;
mod client;
mod mix;
mod server;
mod verdict;

use arguments::Arguments;
use client::{Clients, Load};
use server::{Failure, Line};
use std::{
    env,
    io::{self, BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};
use tickwire::{Config, Heartbeat};
use tokio::runtime::{Builder, Runtime};
use verdict::{History, Run, Usage};

/// Counts what is in use of the heap. Resident memory has the holes between that too, which come
/// and go with no leak.
#[global_allocator]
static HEAP: alloc::Counting = alloc::Counting;

const HELP: &str = "\
Many connections, coming and going, for a long time: does anything fail, leak or grow?

Usage: soak [OPTION]...

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

struct Options {
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
            plain: Config { heartbeat: Some(self.beat()), ..server::config(false) },
            compressed: Config { heartbeat: Some(self.beat()), ..server::config(true) },
        }
    }

    fn beat(&self) -> Heartbeat {
        let time = Duration::from_secs_f64(self.heartbeat);
        Heartbeat::new(time, time)
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
            .args(["--serve", "--heartbeat", &options.heartbeat.to_string()])
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

/// What both ends are at, and have done so far: one line each few seconds.
fn report(at: Duration, tally: &client::Tally, server: &Line, own: &Usage) {
    let client::Tally { open, connects, messages, errors, .. } = tally;
    println!(
        "{:>5.0} s: {open} open, {connects} connects, {messages} messages, {} errors",
        at.as_secs_f64(),
        errors + server.errors,
    );
    for (name, Usage { heap, rss, descriptors }) in [("server", &server.usage), ("clients", own)] {
        println!("    {name}: heap {heap} KiB, RSS {rss} KiB, {descriptors} descriptors");
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
    let start = server.line()?.usage;
    let own = Usage::now()?;
    let history =
        |name, usage| History { name, before: usage, during: Vec::new(), after: usage, errors: 0 };
    let mut processes = [history("server", start), history("clients", own)];
    let began = Instant::now();
    let clients = Clients::new(options.load(), &server.ports)?;
    let task = runtime.spawn(clients.clone().run());
    let (mut ended, mut held, mut lines) = (None, Vec::new(), 0_u64);
    let line = loop {
        let line = server.line()?;
        let (at, own) = (began.elapsed(), Usage::now()?);
        if (verdict::settled(options.seconds)..options.seconds).contains(&at.as_secs_f64()) {
            held.push(clients.tally().open as f64);
        }
        lines += 1;
        if lines.is_multiple_of(options.report) {
            report(at, &clients.tally(), &line, &own);
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
    runtime.block_on(task)?;
    let tally = clients.tally();
    processes[0].errors = line.errors;
    processes[1].errors = tally.errors;
    let run = Run {
        seconds: options.seconds,
        connections: options.connections as f64,
        held: held.iter().sum::<f64>() / held.len().max(1) as f64,
        asked: clients.asked(),
        ended: tally.ended.values().sum(),
        left: line.open,
        processes,
    };
    summary(&run, &tally, &line);
    Ok(run.complaints())
}

fn summary(run: &Run, tally: &client::Tally, line: &Line) {
    let Run { seconds, ended, held, .. } = run;
    println!();
    println!("{held:.0} connections held, in the mean after {:.0} s", verdict::settled(*seconds));
    println!("{} connects, {} messages echoed", tally.connects, tally.messages);
    println!("{} messages seen by the server, in all", line.messages);
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
        for memory in &verdict::MEMORY {
            let (first, last) = process.peaks(*seconds, memory).unwrap_or_default();
            println!(
                "  {}: at most {first} KiB after {:.0} s, {last} KiB in the last third, {} KiB \
                 in the end",
                memory.name,
                verdict::settled(*seconds),
                (memory.of)(after)
            );
        }
    }
}

fn serve(options: &Options) -> Result<(), Failure> {
    server::run(&runtime()?, Config { heartbeat: Some(options.beat()), ..server::config(true) })
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
