//! Instructions for each message, counted by callgrind: what a clock is too unsteady for. Held
//! against `instructions.txt`: a count that is 5 % above it fails, so that a change which costs
//! more says so, by writing the new counts down.
//!
//! ```text
//! cargo bench -p benches --bench instructions                       # count, compare
//! cargo bench -p benches --bench instructions --features deflate    # the rows that need it
//! # over TLS, in place or, where the row says so, by rustls; the floor is that of `tls`
//! cargo bench -p benches --bench instructions --features rustls
//! cargo bench -p benches --bench instructions -- --update           # count, write the file
//! ```
//!
//! This program runs itself under valgrind, twice for each count, the second time with more
//! messages: the difference is theirs alone, without start and warm-up. The counts do not depend on
//! the load of the machine. They do on the compiler, on the C library, whose copies are in them,
//! and on what instructions the processor has, of which valgrind knows those up to AVX2: so the
//! file says what it was counted with, and a failure says what is different now. Under valgrind
//! ring seals with AES-NI, CLMUL and AVX, not with the VAES that the machine may have. Handshakes
//! of TLS are the same in both runs, but for a few instructions a message. Of a system call, only
//! the instructions outside of the kernel count.
mod floor;
mod looped;
mod sides;
#[cfg(feature = "rustls")]
mod wss;

use floor::Body::{Ascii, Binary};
use looped::Does::{Echo, Receive};
use sides::{
    Layout, Sides, accepting, building, receiving, receiving_chunks, receiving_next,
    receiving_owned, receiving_single, receiving_split, sending, sending_each, sending_split,
};
use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How much more is too much, and how much less is worth writing down.
const TOLERANCE: f64 = 0.05;

struct Row {
    /// As in the table of goals; from 17 on, a row of this file alone.
    number: u32,
    name: &'static str,
    sides: fn() -> Sides,
    /// How many messages warm up, and how many are counted.
    warm: usize,
    count: usize,
}

impl Row {
    const fn new(number: u32, name: &'static str, sides: fn() -> Sides) -> Self {
        // The stream repeats itself after 4096 messages.
        Self { number, name, sides, warm: 2 * 4096, count: 4 * 4096 }
    }
}

const PLAIN: [Row; 24] = [
    Row::new(1, "receive masked 64 B", || receiving(64, Binary, false, false)),
    Row::new(3, "receive unmasked 64 B", || receiving(64, Binary, true, false)),
    Row::new(4, "one message a read", || receiving_single(64, false)),
    Row::new(5, "send 64 B, server", || sending(64, false)),
    Row::new(7, "send 64 B, client", || sending(64, true)),
    Row::new(8, "receive text 200 B", || receiving(200, Ascii, true, false)),
    Row { warm: 64, count: 1024, ..Row::new(11, "server handshake", accepting) },
    Row::new(17, "receive 64 B, split", || receiving_split(64, Binary, false, false)),
    Row::new(18, "send 64 B, split", || sending_split(64, false)),
    Row::new(19, "receive 64 B, chunks", || receiving_chunks(64, false)),
    Row::new(21, "own 64 B", || receiving_owned(64, Binary, false, 0)),
    Row::new(22, "own text 200 B, keep", || receiving_owned(200, Ascii, true, 1000)),
    Row::new(23, "build 200 B JSON", || building(Layout::Json, false)),
    Row::new(24, "build 200 B, fixed", || building(Layout::Fixed, false)),
    Row {
        warm: 64,
        count: 1024,
        ..Row::new(25, "send 16 KiB at once", || sending_each(16 << 10, false))
    },
    Row::new(26, "receive 64 B, asked", || receiving_next(64, false, false)),
    Row::new(27, "send 64 B, 1 a write", || sending_each(64, true)),
    Row::new(30, "receive text 1400 B", || receiving(1400, Ascii, true, false)),
    Row::new(36, "asked, 1 a read", || receiving_next(64, false, true)),
    Row::new(37, "split, 1 a read", || receiving_split(64, Binary, false, true)),
    Row::new(38, "receive 64 B, 1 a turn", || looped::sides(1, Receive)),
    Row::new(39, "receive 64 B, 16", || looped::sides(16, Receive)),
    Row::new(40, "echo 64 B, 1 a turn", || looped::sides(1, Echo)),
    Row::new(41, "echo 64 B, 16", || looped::sides(16, Echo)),
];

/// Received by a client, from records that hold one message or 16; sent by one; sent at once by a
/// server. Then one record a read; then the loop.
#[cfg(feature = "rustls")]
const OVER_TLS: [Row; 13] = {
    use looped::sides_over_tls;
    use wss::{
        Case,
        Does::{Receive, ReceiveEach, ReceiveSplit, Send, SendLarge},
        sides, sides_by_rustls,
    };
    const ALL: usize = 2 * 4096 + 4 * 4096;
    const fn case(batch: usize, does: wss::Does) -> Case {
        Case { size: 64, body: Binary, batch, does }
    }
    [
        Row::new(31, "wss receive 64 B, 1", || sides(case(1, Receive), ALL)),
        Row::new(32, "wss receive 64 B, 16", || sides(case(16, Receive), ALL)),
        Row::new(33, "wss send 64 B, 1", || sides(case(1, Send), ALL)),
        Row::new(34, "wss send 64 B, 16", || sides(case(16, Send), ALL)),
        Row {
            warm: 64,
            count: 1024,
            ..Row::new(35, "wss send 16 KiB", || {
                sides(Case { size: 16 << 10, ..case(1, SendLarge) }, ALL)
            })
        },
        Row::new(42, "wss, 1 a read", || sides(case(1, ReceiveEach), ALL)),
        Row::new(43, "wss split, 1 a read", || sides(case(1, ReceiveSplit), ALL)),
        Row::new(48, "rustls, 1 a read", || sides_by_rustls(case(1, ReceiveEach), ALL)),
        Row::new(49, "rustls receive 64 B, 1", || sides_by_rustls(case(1, Receive), ALL)),
        Row::new(44, "wss receive, 1 a turn", || sides_over_tls(1, looped::Does::Receive, ALL)),
        Row::new(45, "wss receive, 16", || sides_over_tls(16, looped::Does::Receive, ALL)),
        Row::new(46, "wss echo, 1 a turn", || sides_over_tls(1, Echo, ALL)),
        Row::new(47, "wss echo, 16", || sides_over_tls(16, Echo, ALL)),
    ]
};

#[cfg(feature = "deflate")]
const DEFLATED: [Row; 1] =
    [Row { warm: 512, count: 4096, ..Row::new(20, "inflate 1 KiB", sides::inflating) }];
#[cfg(not(feature = "rustls"))]
const OVER_TLS: [Row; 0] = [];
#[cfg(not(feature = "deflate"))]
const DEFLATED: [Row; 0] = [];

/// A feature that is on costs the other rows a little: where `deflate` or `rustls` is, they are not
/// counted.
const ROWS: &[Row] = if cfg!(feature = "deflate") {
    &DEFLATED
} else if cfg!(feature = "rustls") {
    &OVER_TLS
} else {
    &PLAIN
};

/// As `sides` and `looped` name them.
const SIDES: [&str; 6] = ["floor", "core", "tokio", "blocking", "futures", "loop"];

/// One for each of `SIDES` that the row has.
type Counts = [Option<f64>; 6];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["--work", number, side, messages] => work(number, side, messages),
        _ => check(args.contains(&"--update")),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is counted.
fn work(number: &str, side: &str, messages: &str) -> Result<ExitCode> {
    let row = ROWS.iter().find(|row| row.number.to_string() == number).ok_or("no such row")?;
    let mut sides = (row.sides)();
    let (_, work) = sides.iter_mut().find(|(name, _)| *name == side).ok_or("no such side")?;
    work(messages.parse()?);
    Ok(ExitCode::SUCCESS)
}

/// Counts, and writes the file or compares with it.
fn check(update: bool) -> Result<ExitCode> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt");
    let with = counted_with()?;
    let mut counts = Vec::new();
    println!("{:<24}{}", "instructions a message", titles());
    for row in ROWS {
        let found = count(row)?;
        println!("{}", line(row, &found));
        counts.push(found);
    }
    println!("the adapters' share: what they add to the core");
    for (row, [_, core, adapters @ .., _]) in ROWS.iter().zip(&counts) {
        let Some(core) = core else { continue };
        let shares = adapters.iter().map(|adapter| cell(adapter.map(|count| count - core)));
        println!("{:<24}{:>20}{}", title(row), "", shares.collect::<String>());
    }
    let was = fs::read_to_string(&file)?;
    if update {
        fs::write(&file, baseline(&was, &with, &counts)?)?;
        println!("written: {}", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(compare(&was, &with, &counts))
}

fn compare(baseline: &str, with: &str, counts: &[Counts]) -> ExitCode {
    let was: BTreeMap<u32, Counts> = baseline.lines().filter_map(parse).collect();
    let (mut worse, mut better) = (0, 0);
    for (row, now) in ROWS.iter().zip(counts) {
        let Some(was) = was.get(&row.number) else {
            println!("WORSE: row {} has no baseline", row.number);
            worse += 1;
            continue;
        };
        // The floor is no product.
        for ((side, now), was) in SIDES.iter().zip(now).zip(was).skip(1) {
            let Some(now) = now else { continue };
            let Some(was) = was else {
                println!("WORSE: row {}, {side} has no baseline", row.number);
                worse += 1;
                continue;
            };
            let change = format!(
                "row {}, {side}: {was:.1} -> {now:.1} ({:+.1} %)",
                row.number,
                (now / was - 1.0) * 100.0
            );
            if *now > was * (1.0 + TOLERANCE) {
                println!("WORSE: {change}");
                worse += 1;
            } else if *now < was * (1.0 - TOLERANCE) {
                println!("better: {change}");
                better += 1;
            }
        }
    }
    let update = "cargo bench -p benches --bench instructions -- --update";
    if better > 0 {
        println!("better than the baseline by more than 5 %: keep it so by {update}");
    }
    if worse > 0 {
        let before = baseline.lines().find_map(|line| line.strip_prefix(WITH));
        match before {
            Some(before) if before == with => {}
            before => println!(
                "the baseline was counted with other tools, which may be the reason:\n  then {}\n  \
                 now  {with}",
                before.unwrap_or("unknown")
            ),
        }
        println!("if this is as it has to be: {update}, and say why in the commit");
        return ExitCode::FAILURE;
    }
    println!("no count is above the baseline by more than 5 %");
    ExitCode::SUCCESS
}

// The file.

/// How the line begins that says what counted.
const WITH: &str = "# with ";

/// The new counts, and those of `was` that were not counted now.
fn baseline(was: &str, with: &str, counts: &[Counts]) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "# Instructions for each message, counted by callgrind. Written by")?;
    writeln!(text, "# cargo bench -p benches --bench instructions -- --update")?;
    writeln!(text, "{WITH}{with}")?;
    writeln!(text, "#{:<23}{}", "", titles())?;
    let counted = ROWS.iter().zip(counts).map(|(row, counts)| (row.number, line(row, counts)));
    let kept = was.lines().filter_map(|line| Some((parse(line)?.0, line.to_owned())));
    let rows: BTreeMap<u32, String> = kept.chain(counted).collect();
    for row in rows.values() {
        writeln!(text, "{row}")?;
    }
    Ok(text)
}

fn titles() -> String {
    SIDES.iter().map(|side| format!("{side:>10}")).collect()
}

fn title(row: &Row) -> String {
    format!("{} {}", row.number, row.name)
}

fn line(row: &Row, counts: &Counts) -> String {
    let counts: String = counts.iter().copied().map(cell).collect();
    format!("{:<24}{counts}", title(row))
}

fn cell(count: Option<f64>) -> String {
    count.map_or_else(|| format!("{:>10}", "-"), |count| format!("{count:>10.1}"))
}

/// A row's number and counts, of a line as above.
fn parse(line: &str) -> Option<(u32, Counts)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (number, rest) = words.split_first()?;
    let counts = rest.get(rest.len().checked_sub(SIDES.len())?..)?.iter();
    let counts: Option<Vec<_>> = counts
        .map(|&word| if word == "-" { Some(None) } else { word.parse().ok().map(Some) })
        .collect();
    Some((number.parse().ok()?, counts?.try_into().ok()?))
}

// Counting.

/// Counts all sides at once: what else runs meanwhile changes no count.
fn count(row: &Row) -> Result<Counts> {
    let has: Vec<&str> = (row.sides)().into_iter().map(|(name, _)| name).collect();
    let side = |side| {
        let count = || -> Result<Option<f64>> {
            if !has.contains(&side) {
                return Ok(None);
            }
            let warm = run(row, side, row.warm)?;
            let all = run(row, side, row.warm + row.count)?;
            Ok(Some((all - warm) as f64 / row.count as f64))
        };
        count().map_err(|error| error.to_string())
    };
    thread::scope(|scope| {
        let counting = SIDES.map(|name| scope.spawn(move || side(name)));
        let mut counts = Counts::default();
        for (count, counting) in counts.iter_mut().zip(counting) {
            *count = counting.join().map_err(|_| "a side panicked")??;
        }
        Ok(counts)
    })
}

/// Instructions of a whole run.
fn run(row: &Row, side: &str, messages: usize) -> Result<u64> {
    let found = callgrind(row, side, messages)?;
    let total = found.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("callgrind gave no total")?.trim().parse()?)
}

/// What callgrind wrote.
fn callgrind(row: &Row, side: &str, messages: usize) -> Result<String> {
    let out = Out::new(side);
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.0.display()))
        .arg(std::env::current_exe()?)
        .args(["--work", &row.number.to_string(), side, &messages.to_string()])
        // `rep movsb`, which copies any length, would count as one instruction for each byte.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-FSRM")
        .output()
        .map_err(|error| format!("valgrind: {error}; apt-get install valgrind"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(fs::read_to_string(&out.0)?)
}

/// A file that goes with this.
struct Out(PathBuf);

impl Out {
    fn new(side: &str) -> Self {
        let name = format!("tickwire-callgrind-{}-{side}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What the counts depend on besides this crate.
fn counted_with() -> Result<String> {
    let version = |program: &str| -> Result<String> {
        let output = Command::new(program).arg("--version").output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().into())
    };
    Ok(format!(
        "{}, {}, {}{}",
        version("rustc")?,
        version("valgrind").map_err(|error| format!("{error}; apt-get install valgrind"))?,
        std::env::consts::ARCH,
        if wide() { " with AVX2" } else { "" }
    ))
}

fn wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}
