//! Tests the handler against its own exchange, and against feeds with a wrong certificate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use feed_handler::{Pace, Plan, exchange::Exchange, handler::Handler, report::Report};
use std::{
    io::{Write, stderr},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use testkit::PATIENCE;
const BEAT: Duration = Duration::from_millis(10);

/// One test runs at a time: on a busy machine, a line's delay of a second is like a cut.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test over epoll, and over io_uring. If the kernel refuses io_uring, says so.
fn over_each(test: impl Fn(bool)) {
    let _alone = alone();
    test(false);
    let tls = Exchange::start(plan(1, 1)).expect("a port").tls.clone();
    match Handler::new(&[], None, true, tls) {
        Ok(_) => test(true),
        // `eprintln` would not do, because libtest hides the output of a test that passes.
        Err(error) => drop(writeln!(stderr(), "NOT RUN over io_uring: {error}")),
    }
}

fn plan(feeds: usize, rate: u32) -> Plan {
    let late = Duration::from_millis(4);
    Plan { feeds, lines: 2, rate, pace: Pace::Timer, late, cut_every: None, life: None }
}

/// A handler of all feeds of this exchange, with its certificate.
fn follower(exchange: &Exchange, life: Option<Duration>, uring: bool) -> Handler {
    let tls = exchange.tls.clone();
    Handler::new(&exchange.followed(), life, uring, tls).expect("URLs")
}

fn follow(handler: &mut Handler, mut done: impl FnMut(&Handler) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done(handler) {
        assert!(Instant::now() < until, "it takes too long");
        handler.turn(BEAT).expect("the system can wait");
    }
}

/// Runs a test with more and more time, until it returns that the machine was fast enough.
fn with_time_enough(test: impl Fn(Duration) -> bool) {
    let mut time = Duration::from_secs(2);
    while !test(time) {
        time *= 2;
        assert!(time < PATIENCE / 10, "{time:?} would not be enough");
    }
}

/// Whether each feed always had a line: no message was lost, and no snapshot was taken again. Only
/// a line that came back too late costs either.
fn always_had_a_line(handler: &Handler) -> bool {
    handler.feeds().iter().all(|feed| feed.tally.lost == 0 && feed.tally.snapshots == 1)
}

/// Follows until the handler has all ticks of the exchange.
fn level(handler: &mut Handler, exchange: &Exchange, feeds: usize) {
    exchange.quiet();
    follow(handler, |handler| handler.feeds()[..feeds].iter().all(|feed| exchange.is_same(feed)));
}

#[test]
fn nothing_is_lost_though_each_connection_is_cut_again_and_again() {
    over_each(|uring| with_time_enough(|time| are_cut(uring, time)));
}

fn are_cut(uring: bool, every: Duration) -> bool {
    let plan = Plan { cut_every: Some(every), ..plan(30, 6000) };
    let exchange = Exchange::start(plan).expect("a port");
    let mut handler = follower(&exchange, None, uring);
    let (mut closes, mut resets) = (false, false);
    follow(&mut handler, |handler| {
        for ended in handler.lines().filter_map(|line| line.ended.as_deref()) {
            closes |= ended.contains("closed with 1001");
            resets |= !ended.contains("closed with 1001");
        }
        exchange.cuts() >= 240
    });
    level(&mut handler, &exchange, 30);
    if !always_had_a_line(&handler) {
        return false;
    }
    let report = Report::new(&handler, &exchange);
    assert!(report.failed.is_empty(), "{report}");
    for feed in handler.feeds() {
        let tally = feed.tally;
        assert_eq!((tally.lost, tally.wrong, tally.snapshots), (0, 0, 1), "feed {}", feed.number);
        assert!(tally.duplicates > 0 && exchange.is_same(feed));
        // From the snapshot on, each number was delivered at most once.
        assert!(tally.delivered <= feed.newest.expect("there are ticks"));
    }
    assert!(report.opened >= 240, "{report}");
    assert_eq!((closes, resets), (true, true), "by a Close and by a reset in turn");
    true
}

#[test]
fn with_one_line_what_is_lost_is_counted_and_the_books_are_right_again() {
    let _alone = alone();
    let cut_every = Some(Duration::from_millis(500));
    let plan = Plan { lines: 1, cut_every, ..plan(4, 2000) };
    let exchange = Exchange::start(plan).expect("a port");
    let mut handler = follower(&exchange, None, false);
    follow(&mut handler, |_| exchange.cuts() >= 20);
    level(&mut handler, &exchange, 4);
    for feed in handler.feeds() {
        let tally = feed.tally;
        assert!(tally.lost > 0 && tally.snapshots > 1 && tally.wrong == 0, "{tally:?}");
        assert!(exchange.is_same(feed));
    }
    assert!(!Report::new(&handler, &exchange).failed.is_empty());
}

#[test]
fn a_line_is_replaced_before_its_time_and_loses_nothing_though_it_is_the_only_one() {
    over_each(replace);
}

fn replace(uring: bool) {
    with_time_enough(|life| are_replaced(uring, life));
    // Without a successor, the exchange cuts each connection.
    let life = Some(Duration::from_secs(2));
    let exchange = Exchange::start(Plan { lines: 1, life, ..plan(4, 2000) }).expect("a port");
    let mut handler = follower(&exchange, None, false);
    follow(&mut handler, |handler| handler.lines().all(|line| line.opened >= 2));
    assert!(exchange.cuts() >= 4);
}

fn are_replaced(uring: bool, life: Duration) -> bool {
    let plan = Plan { lines: 1, life: Some(life), ..plan(4, 2000) };
    let exchange = Exchange::start(plan).expect("a port");
    let mut handler = follower(&exchange, Some(life), uring);
    // For a while each line has two connections, which both bring messages.
    follow(&mut handler, |handler| {
        let replaced = handler.lines().all(|line| line.replaced >= 3);
        replaced && handler.feeds().iter().all(|feed| feed.tally.duplicates > 0)
    });
    level(&mut handler, &exchange, 4);
    if exchange.cuts() > 0 {
        return false;
    }
    let report = Report::new(&handler, &exchange);
    assert!(report.failed.is_empty(), "{report}");
    for feed in handler.feeds() {
        let tally = feed.tally;
        assert_eq!((tally.lost, tally.wrong, tally.snapshots), (0, 0, 1), "{tally:?}");
    }
    assert!(exchange.cuts() == 0 && handler.lines().all(|line| line.ended.is_none()));
    true
}

#[test]
fn a_feed_whose_certificate_is_wrong_is_told_and_the_others_go_on() {
    let _alone = alone();
    let exchange = Exchange::start(plan(3, 600)).expect("a port");
    let stranger = Exchange::start(plan(2, 600)).expect("a port");
    let tls = exchange.tls.clone();
    let followed = [exchange.followed(), stranger.followed()].concat();
    let mut handler = Handler::new(&followed, None, false, tls).expect("URLs");
    follow(&mut handler, |handler| {
        handler.feeds()[..3].iter().all(|feed| feed.tally.delivered > 300)
            && handler.feeds()[3..].iter().all(|feed| (0..2).all(|line| feed.has_fault(line)))
    });
    level(&mut handler, &exchange, 3);
    assert!(handler.feeds()[..3].iter().all(|feed| exchange.is_same(feed)));
    for line in handler.lines().skip(6) {
        let ended = line.ended.as_deref().unwrap_or_default();
        assert!(ended.contains("certificate"), "{ended}");
        assert_eq!(line.opened, 0);
    }
    // Each of two feeds fails four times: no tick, a wrong book, and two lines at fault.
    let report = Report::new(&handler, &exchange);
    assert_eq!(report.failed.len(), 2 * 4, "{report}");
}

#[test]
fn the_program_says_whether_anything_was_lost_and_its_exit_code_too() {
    let _alone = alone();
    for (options, cut_every, code, says) in [
        ("--feeds 8 --rate 800", 0.5, 0, "lost by each of 8 feeds: nothing"),
        ("--feeds 2 --rate 400 --lines 1", 0.15, 1, "\n2 failures in 2 feeds"),
    ] {
        with_time_enough(|time| {
            let (all, every) = (time.as_secs_f64(), time.as_secs_f64() * cut_every);
            let args = format!("{options} --seconds {all} --cut-every {every}");
            let mut program = Command::new(env!("CARGO_BIN_EXE_feed_handler"));
            let output = program.args(args.split_whitespace()).output().expect("it runs");
            let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
            println!("{}", said.concat());
            assert!(said[0].contains(" ticks/s received, "), "{}", said[0]);
            assert!(said[0].contains("\nfrom encoding to book: p50 "), "{}", said[0]);
            output.status.code() == Some(code) && said[0].contains(says)
        });
    }
}
