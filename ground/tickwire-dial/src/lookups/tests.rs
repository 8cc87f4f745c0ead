//! Lookups by a resolver that the test plays, in virtual time.
#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use std::{
    cell::Cell,
    string::{String, ToString},
    sync::atomic::{AtomicU64, Ordering},
    thread_local,
};
use testkit::{
    PATIENCE,
    names::{Question, Questions, resolver},
};

thread_local! {
    static NO_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Stands in for a system without a thread to spare.
pub(super) fn spawned() -> io::Result<()> {
    match NO_THREAD.get() {
        true => Err(ErrorKind::OutOfMemory.into()),
        false => Ok(()),
    }
}

struct Bench {
    lookups: Lookups,
    asked: Questions,
    now: Arc<AtomicU64>,
}

fn bench() -> Bench {
    let (resolve, asked) = resolver();
    let now = Arc::<AtomicU64>::default();
    let elapsed = now.clone();
    let lookups =
        Lookups::new(resolve, move || Duration::from_millis(elapsed.load(Ordering::Relaxed)));
    Bench { lookups, asked, now }
}

impl Bench {
    fn look_up(&self, host: &str) -> Lookup {
        self.lookups.look_up(host, 443)
    }

    fn advance(&self, ms: u64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    /// How many names are kept, and how many threads.
    fn held(&self) -> (usize, usize) {
        let names = self.lookups.0.names();
        (names.sought.len(), names.threads)
    }

    /// Waits until the threads have come so far.
    fn until(&self, held: (usize, usize)) {
        let began = Instant::now();
        while self.held() != held {
            assert!(began.elapsed() < PATIENCE, "{:?}, not {held:?}", self.held());
            thread::yield_now();
        }
    }
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 0))
}

fn answer(question: Question, last: u8) {
    question.answer(Ok(vec![address(last)]));
}

fn found(lookup: Lookup) -> u8 {
    let found = lookup.wait(PATIENCE).unwrap();
    let [SocketAddr::V4(one)] = found[..] else { panic!("{found:?}") };
    assert_eq!(one.port(), 443);
    one.ip().octets()[3]
}

fn error(lookup: Lookup) -> String {
    lookup.wait(PATIENCE).unwrap_err().to_string()
}

/// Whether it waits.
fn waits(lookup: &mut Lookup) -> bool {
    Pin::new(lookup).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn dials_of_a_name_share_its_lookup_and_a_later_one_asks_anew() {
    let bench = bench();
    let dials: Vec<_> = (0..10).map(|_| bench.look_up("feed.test")).collect();
    let other = bench.look_up("other.test");
    assert_eq!(bench.held(), (2, 2));
    let mut asked = [bench.asked.next(), bench.asked.next()];
    asked.sort_by(|one, other| one.host.cmp(&other.host));
    let [feed, rest] = asked;
    answer(feed, 1);
    answer(rest, 2);
    assert!(dials.into_iter().all(|dial| found(dial) == 1));
    assert_eq!(found(other), 2);
    bench.until((0, 0));
    let later = bench.look_up("feed.test");
    answer(bench.asked.next(), 3);
    assert_eq!(found(later), 3);
    assert_eq!(bench.asked.made().len(), 0);
}

/// Each dial waits for 3 s, and the answer takes 15 s.
#[test]
fn a_name_that_needs_longer_than_a_dial_waits_is_found() {
    let bench = bench();
    let mut asked = Vec::new();
    for dial in 0..4 {
        let late = bench.look_up("feed.test").wait(Duration::ZERO).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        bench.advance(3500);
        if dial < 2 {
            asked.push(bench.asked.next()); // a second lookup beside the first, and no third
        }
    }
    assert_eq!((bench.asked.made().len(), bench.held()), (0, (1, 2)));
    let fifth = bench.look_up("feed.test");
    answer(asked.remove(0), 1);
    assert_eq!(found(fifth), 1);
    drop(asked); // the second lookup fails, which nobody learns
    bench.until((0, 0));
}

#[test]
fn a_second_lookup_may_be_the_faster_one() {
    let bench = bench();
    let first = bench.look_up("feed.test");
    let slow = bench.asked.next();
    bench.advance(999);
    let mut joined = bench.look_up("feed.test");
    assert_eq!((bench.asked.made().len(), waits(&mut joined)), (0, true));
    bench.advance(1);
    let again = bench.look_up("feed.test");
    answer(bench.asked.next(), 2);
    assert_eq!([first, joined, again].map(found), [2; 3]);
    // The first goes on, and is no longer the name's.
    let later = bench.look_up("feed.test");
    let asked = bench.asked.next();
    answer(slow, 1);
    answer(asked, 3);
    assert_eq!(found(later), 3);
    bench.until((0, 0));
}

#[test]
fn a_failure_counts_once_no_lookup_of_the_name_is_left() {
    let bench = bench();
    let mut first = bench.look_up("feed.test");
    let one = bench.asked.next();
    bench.advance(1000);
    let second = bench.look_up("feed.test");
    let other = bench.asked.next();
    one.answer(Err(ErrorKind::NotFound.into()));
    bench.until((1, 1));
    assert!(waits(&mut first));
    other.answer(Err(io::Error::other("no such name")));
    assert_eq!([first, second].map(error), ["no such name"; 2]);
    bench.until((0, 0));
}

#[test]
fn an_answer_that_found_no_dial_is_for_the_next_one_alone_and_for_a_minute() {
    let bench = bench();
    let answered = |last| {
        drop(bench.look_up("feed.test"));
        answer(bench.asked.next(), last);
        bench.until((1, 0));
    };
    answered(1);
    bench.advance(59_999);
    let next = [bench.look_up("feed.test"), bench.look_up("feed.test")];
    assert_eq!(next.map(found), [1; 2]); // neither has taken it before the other came
    assert_eq!(bench.held(), (0, 0));
    answered(2);
    bench.advance(60_000);
    let late = bench.look_up("feed.test");
    answer(bench.asked.next(), 3);
    assert_eq!(found(late), 3);
    // A dial that ended just when its answer came has not taken it.
    let dial = bench.look_up("feed.test");
    answer(bench.asked.next(), 4);
    bench.until((1, 0));
    drop(dial);
    assert_eq!(found(bench.look_up("feed.test")), 4);
    // It goes too when nobody asks for this name again.
    answered(5);
    bench.advance(60_000);
    assert!(bench.look_up("192.0.2.9").wait(PATIENCE).is_ok());
    drop(bench.look_up("other.test"));
    assert_eq!(bench.held(), (1, 1));
}

#[test]
fn a_failure_that_found_no_dial_is_not_kept() {
    let bench = bench();
    drop(bench.look_up("feed.test"));
    drop(bench.asked.next());
    bench.until((0, 0));
}

#[test]
fn threads_and_names_are_bounded() {
    let bench = bench();
    let name = |n: usize| std::format!("{n}.test");
    let mut dials: Vec<_> = (0..NAMES).map(|n| bench.look_up(&name(n))).collect();
    assert_eq!(bench.held(), (NAMES, THREADS));
    dials.push(bench.look_up(&name(7))); // a name that is looked up has room for a further dial
    assert_eq!(error(bench.look_up("more.test")), "resource busy");
    let asked: Vec<_> = (0..THREADS).map(|_| bench.asked.next()).collect();
    // The oldest of those that wait is the next to get a thread.
    dials[1..].reverse();
    drop(dials.pop()); // its lookup runs, and nobody waits for it
    for question in asked {
        answer(question, 1);
    }
    let next: Vec<_> = (0..THREADS).map(|_| bench.asked.next()).collect();
    let mut hosts: Vec<_> = next.iter().map(|question| question.host.clone()).collect();
    hosts.sort();
    let mut oldest: Vec<_> = (THREADS..2 * THREADS).map(name).collect();
    oldest.sort();
    assert_eq!(hosts, oldest);
    // A lookup without a thread ends with its last dial, one with a thread does not; an answer that
    // nobody has taken stays.
    drop(dials);
    assert_eq!(bench.held(), (2 * THREADS, THREADS));
    next.into_iter().for_each(drop);
    bench.until((THREADS, 0));
}

/// Answers that no dial has taken give way to new names.
#[test]
fn untaken_answers_take_no_room() {
    let bench = bench();
    for n in 0..NAMES {
        drop(bench.look_up(&n.to_string()));
        answer(bench.asked.next(), 1);
        bench.until((n + 1, 0));
    }
    let more = bench.look_up("more.test");
    answer(bench.asked.next(), 2);
    assert_eq!(found(more), 2);
}

/// Names that never get an answer and are dialed again and again leave half of the threads.
#[test]
fn second_lookups_leave_threads_for_other_names() {
    let bench = bench();
    for round in 0..3 {
        for n in 0..THREADS / 2 {
            drop(bench.look_up(&n.to_string()));
        }
        assert_eq!(bench.held(), (THREADS / 2, THREADS / 2), "round {round}");
        bench.advance(5000);
    }
}

#[test]
fn a_system_without_threads_is_an_error_of_the_dial() {
    let bench = bench();
    NO_THREAD.set(true);
    assert_eq!(error(bench.look_up("feed.test")), "out of memory");
    NO_THREAD.set(false);
    let dial = bench.look_up("feed.test");
    bench.advance(1000);
    NO_THREAD.set(true);
    let second = bench.look_up("feed.test"); // it shares the first
    answer(bench.asked.next(), 1);
    assert_eq!([dial, second].map(found), [1; 2]);
    bench.until((0, 0));
}

#[test]
fn a_resolver_that_panics_fails_its_lookup() {
    let lookups = Lookups::new(|_| panic!("as a test wants"), || Duration::ZERO);
    for _ in 0..2 {
        assert_eq!(error(lookups.look_up("feed.test", 1)), "the resolver has panicked");
    }
}

#[test]
fn an_address_needs_no_lookup_and_one_that_was_found_keeps_its_zone() {
    let lookups = Lookups::new(|_| Ok(vec!["[fe80::1%7]:0".parse().unwrap()]), || Duration::ZERO);
    for (host, is) in [
        ("192.0.2.1", "192.0.2.1:443"),
        ("2001:db8::1", "[2001:db8::1]:443"),
        ("fe80::1%eth0", "[fe80::1%7]:443"),
    ] {
        let found = lookups.look_up(host, 443).wait(PATIENCE).unwrap();
        assert_eq!(found, [is.parse().unwrap()], "{host}");
    }
}

/// As a task that waits for two dials of a name: the waker of one owns the other.
#[test]
fn a_waker_that_owns_a_lookup_may_be_dropped_by_one() {
    struct Owns(#[allow(dead_code)] Mutex<Lookup>);
    impl Wake for Owns {
        fn wake(self: Arc<Self>) {}
    }
    testkit::threads::bounded(|| {
        let bench = bench();
        let mut lookup = bench.look_up("feed.test");
        for _ in 0..2 {
            let other = bench.look_up("feed.test");
            let waker = Waker::from(Arc::new(Owns(Mutex::new(other))));
            assert!(Pin::new(&mut lookup).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(lookup);
        assert_eq!(bench.held(), (1, 1));
    });
}

#[test]
fn a_waker_that_panics_keeps_no_other_dial_waiting() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("as a test wants");
        }
    }
    let bench = bench();
    let mut bad = bench.look_up("feed.test");
    let good = bench.look_up("feed.test");
    let waker = Waker::from(Arc::new(Bad));
    assert!(Pin::new(&mut bad).poll(&mut Context::from_waker(&waker)).is_pending());
    let waits = thread::spawn(move || good.wait(PATIENCE));
    bench.asked.next().answer(Ok(vec![address(1)]));
    assert_eq!(waits.join().unwrap().unwrap().len(), 1);
    bench.until((1, 0)); // the thread has gone as it should
}
