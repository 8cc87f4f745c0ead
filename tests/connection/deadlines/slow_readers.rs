//! Peers that read slowly, in virtual time, over a stream that behaves as a kernel does: its send
//! buffer has room again only in steps, and says so only once a third of it is free.
#[cfg(all(
    target_os = "linux", // whose TCP_NOTSENT_LOWAT it needs
    feature = "in-place",
    feature = "tokio",
    feature = "futures",
    not(miri)
))]
mod over_sockets;

use super::*;
use bytes::Buf;
use testkit::Rng;
use tickwire::{CloseCode, Heartbeat};

const T: u64 = 30;

/// The send buffer of a socket, and the peer behind it.
#[derive(Clone, Copy)]
struct Line {
    buffer: usize,
    /// In the buffer.
    held: usize,
    /// By the peer's application, in bytes per second, and in which steps the peer's kernel says
    /// so.
    rate: usize,
    step: Duration,
    next: Duration,
    /// The writer is only told of room, and does not ask for it.
    told_only: bool,
}

impl Line {
    fn new(buffer: usize, rate: usize, step: Duration) -> Self {
        Self { buffer, held: 0, rate, step, next: step, told_only: false }
    }

    fn run_to(&mut self, now: Duration) {
        while self.next <= now {
            self.held = self.held.saturating_sub(self.rate * self.step.as_millis() as usize / 1000);
            self.next += self.step;
        }
    }

    fn room(&self, refused: bool) -> usize {
        let room = self.buffer - self.held;
        if refused && self.told_only && room < self.buffer / 3 { 0 } else { room }
    }
}

/// A connection that is driven over a `Line`. As the adapters do, it writes before it tells the
/// time.
struct Driven {
    conn: Connection,
    role: Role,
    line: Line,
    refused: bool,
    now: Duration,
    /// Frames that the peer's application has not read yet end here, in bytes.
    wrote: Vec<u8>,
    /// The peer sends a Pong each so often.
    pongs: Option<Duration>,
}

impl Driven {
    fn new(role: Role, config: &Config, line: Line) -> Self {
        let conn = connection(role, config);
        let now = Duration::ZERO;
        Self { conn, role, line, refused: false, now, wrote: vec![], pongs: None }
    }

    fn write(&mut self) {
        loop {
            let left = self.conn.sender_mut().outgoing().remaining();
            if left == 0 {
                return;
            }
            match self.line.room(self.refused).min(left) {
                0 => {
                    self.refused = true;
                    return self.conn.report(Report::WriteBlocked);
                }
                n => {
                    self.refused = false;
                    self.line.held += n;
                    self.wrote.extend(write(&mut self.conn, n));
                }
            }
        }
    }

    /// Until it fails, is closed, or `end`.
    fn run(&mut self, end: Duration) -> Option<RecvError> {
        self.run_by(end, Self::next, |_| ())
    }

    /// The same, with a call of `each` every 10 ms.
    fn run_with(&mut self, end: Duration, each: impl FnMut(&mut Connection)) -> Option<RecvError> {
        self.run_by(end, |run| run.now + 10 * MS, each)
    }

    fn run_by(
        &mut self,
        end: Duration,
        next: impl Fn(&Self) -> Duration,
        mut each: impl FnMut(&mut Connection),
    ) -> Option<RecvError> {
        while self.now < end {
            self.line.run_to(self.now);
            if let Some(every) = self.pongs
                && self.now.as_millis().is_multiple_of(every.as_millis())
            {
                receive(&mut self.conn, &frame_to(self.role, PONG, ""));
            }
            each(&mut self.conn);
            self.write();
            let now = Time::new(self.now);
            while self.conn.poll_timeout().is_some_and(|due| due <= now) {
                if let Err(error) = tell_time(&mut self.conn, now) {
                    return Some(error);
                }
                self.write();
            }
            if self.conn.closed().is_some_and(|end| end.clean) {
                return None;
            }
            self.now = next(self).min(end);
        }
        None
    }

    /// When something can happen by itself: the peer reads, says something, or a deadline is due.
    fn next(&self) -> Duration {
        let due = self.conn.poll_timeout().map_or(Duration::MAX, Time::since_epoch);
        let pong = self.pongs.map_or(Duration::MAX, |every| {
            let past = self.now.as_millis() / every.as_millis();
            every * (past as u32 + 1)
        });
        self.line.next.min(due).min(pong)
    }

    fn frames(&self) -> Vec<(u8, Vec<u8>)> {
        sent(&self.wrote)
    }
}

fn feed(run: &mut Driven, bytes: usize) {
    let _ = run.conn.sender_mut().feed(&vec![7; bytes]).unwrap();
}

/// The steps of a kernel with a receive buffer of 128 KiB, at 16 KiB/s.
const EIGHT: Duration = Duration::from_secs(8);

#[test]
fn a_peer_that_reads_is_waited_for_however_slowly() {
    for (role, rate, step) in [
        (Role::Server, 16 << 10, EIGHT),
        (Role::Client, 16 << 10, EIGHT),
        (Role::Server, 16 << 10, SECOND * T as u32),
        (Role::Server, 512, 2 * SECOND),
        (Role::Server, 1000, 25 * SECOND),
    ] {
        let minutes = if rate > 1000 { 9 } else { 30 };
        let mut run = Driven::new(role, &Config::server(), Line::new(1 << 20, rate, step));
        run.pongs = Some(10 * SECOND);
        feed(&mut run, minutes * 60 * rate + (1 << 20));
        let end = SECOND * 60 * minutes as u32;
        assert_eq!(run.run(end), None, "{rate} {step:?}");
        assert_eq!(run.now, end);
    }
}

/// At 512 bytes a second or more, in steps within the full time, and whatever a program feeds when.
/// Looks fall where they may.
#[test]
fn who_takes_512_bytes_a_second_is_never_cut() {
    for seed in 0..if cfg!(miri) { 1 } else { 30 } {
        let rng = &mut Rng::new(seed);
        let rate = 512 + rng.below(3) * rng.below(1000);
        let most = 1 << rng.between(0, 11);
        let step = 10 * rng.between(1, most) as u32 * MS;
        let of_step = rate * step.as_millis() as usize / 1000;
        let most = 1 << rng.between(0, 16);
        let line = Line::new(of_step + rng.between(1, most) as usize, rate, step);
        let mut run = Driven::new(rng.of(&ROLES), &Config::default(), line);
        run.line.next = Duration::from_millis(rng.between(1, step.as_millis() as u64));
        run.line.held = rng.below(line.buffer);
        let longest = rng.of(&[100, line.buffer, 2 * line.buffer, 8 * line.buffer]);
        let pause = rng.of(&[1, 50, 800, 3000]);
        let end = SECOND * if cfg!(miri) { 10 } else { 240 };
        while run.now < end {
            let next = run.now + 10 * rng.between(1, 2 * pause - 1) as u32 * MS;
            let failed = run.run(next.min(end));
            assert_eq!(failed, None, "{seed}: {rate} {step:?}, after {:?}", run.now);
            if run.conn.sender().has_room() {
                feed(&mut run, rng.below(longest));
            }
        }
    }
}

/// Why the adapters ask the socket.
#[test]
fn one_who_does_not_ask_takes_a_peer_that_reads_for_one_that_does_not() {
    let line = Line { told_only: true, ..Line::new(4 << 20, 16 << 10, EIGHT) };
    let mut run = Driven::new(Role::Server, &Config::server(), line);
    run.pongs = Some(10 * SECOND);
    feed(&mut run, 8 << 20);
    assert_eq!(run.run(HOUR), Some(RecvError::WriteTimeout));
    assert!(run.now < 40 * SECOND);
}

#[test]
fn a_peer_that_reads_nothing_or_next_to_nothing_ends() {
    let second = |n: f64| Duration::from_secs_f64(n);
    for (rate, step, earliest, latest) in [
        (0, SECOND, 30.0, 37.5),
        (1, 24 * SECOND, 30.0, 31.0),
        (1, SECOND, 30.0, 31.0),
        (100, 20 * SECOND, 30.0, 45.0),
    ] {
        // Whether or not the peer says something: a server without a heartbeat, too.
        for pongs in [None, Some(10 * SECOND)] {
            let mut run =
                Driven::new(Role::Server, &Config::default(), Line::new(4096, rate, step));
            run.pongs = pongs;
            feed(&mut run, 100_000);
            assert_eq!(run.run(HOUR), Some(RecvError::WriteTimeout));
            let took = run.now;
            assert!(second(earliest) <= took && took <= second(latest), "{rate} {step:?} {took:?}");
        }
    }
}

/// A conflating publisher sends the newest value whenever the one before has left.
#[test]
fn small_messages_one_by_one_are_no_way_round_the_clock() {
    for (rate, stays) in [(600, true), (10, false)] {
        let mut run = Driven::new(Role::Server, &Config::default(), Line::new(256, rate, SECOND));
        let failed = run.run_with(SECOND * 600, |conn| {
            if !conn.sender().has_outgoing() {
                let _ = conn.sender_mut().feed(&[7; 250]).unwrap();
            }
        });
        assert_eq!(failed, (!stays).then_some(RecvError::WriteTimeout), "{rate}");
    }
}

/// A program that sleeps, and so offers nothing, is not the peer's fault.
#[test]
fn of_a_sleep_a_quarter_counts() {
    let mut conn = server(&Config::default());
    conn.sender_mut().feed("stuck").unwrap();
    conn.report(Report::WriteBlocked);
    tell_time(&mut conn, at(0)).unwrap();
    for hour in 1..4 {
        tell_time(&mut conn, at(3600 * hour)).unwrap();
    }
    assert_eq!(tell_time(&mut conn, at(3600 * 4)), Err(RecvError::WriteTimeout));
}

/// Plain bytes that a TLS session holds are longer than they were, and leave little by little.
#[test]
fn a_device_of_1_kb_per_second_is_served_over_tls() {
    for (role, rate, cut) in [(Role::Server, 1000, false), (Role::Server, 100, true)] {
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().feed(&[7; 64 << 10]).unwrap();
        drain(&mut conn);
        let mut session = (64 << 10) + 4 * 22 + 10;
        let mut failed = None;
        for second in 0..90 {
            conn.sender_mut().set_unflushed(session);
            let now = at(second);
            if conn.poll_timeout().is_some_and(|due| due <= now) {
                failed = failed.or(tell_time(&mut conn, now).err());
            }
            session = usize::saturating_sub(session, rate);
        }
        assert_eq!(failed, cut.then_some(RecvError::WriteTimeout), "{rate}");
    }
}

/// Short messages in records of their own, 25 bytes for 3, leave no debt that later bytes have to
/// pay.
#[test]
fn what_a_record_adds_to_short_messages_is_not_held_against_the_peer() {
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
        let mut session = 0;
        let now = at(0);
        for _ in 0..2000 {
            conn.sender_mut().feed("t").unwrap();
            drain(&mut conn);
            session += 25;
            conn.sender_mut().set_unflushed(session);
        }
        tell_time(&mut conn, now).unwrap();
        for second in 1..=session as u64 / 512 {
            session = session.saturating_sub(512);
            conn.sender_mut().set_unflushed(session);
            let now = at(second);
            if conn.poll_timeout().is_some_and(|due| due <= now) {
                tell_time(&mut conn, now).unwrap();
            }
        }
        conn.sender_mut().set_unflushed(0);
        assert!(!conn.sender().has_outgoing());
    }
}

/// Earlier waits that ended well count no more once nothing has waited for so long.
#[test]
fn the_clock_is_full_again_after_a_quiet_time() {
    let mut run = Driven::new(Role::Server, &Config::default(), Line::new(4096, 0, SECOND));
    for _ in 0..3 {
        feed(&mut run, 6000);
        assert_eq!(run.run(run.now + 8 * SECOND), None);
        run.line.held = 0;
        assert_eq!(run.run(run.now + SECOND), None);
        run.line.held = 0;
    }
    run.now += HOUR;
    feed(&mut run, 6000);
    let refused = run.now;
    assert_eq!(run.run(2 * HOUR), Some(RecvError::WriteTimeout));
    assert!(run.now - refused >= SECOND * T as u32, "{:?}", run.now - refused);
}

/// A look that finds nothing waiting of what waited at the last does not make the time between
/// them quiet.
#[test]
fn a_peer_that_takes_each_message_just_before_a_look_gains_no_time_by_that() {
    let mut run = Driven::new(Role::Server, &Config::default(), Line::new(256, 0, SECOND));
    feed(&mut run, 300);
    assert_eq!(run.run(16 * SECOND), None);
    // From here on there are always bytes that wait, each for 7 s.
    for round in 1..=2 {
        run.line.held = 0;
        run.write();
        run.line.held = 0;
        feed(&mut run, 300);
        assert_eq!(run.run((16 + 7 * round) * SECOND), None);
    }
    let last = run.now;
    assert_eq!(run.run(HOUR), Some(RecvError::WriteTimeout));
    assert!(run.now - last < 20 * SECOND, "{:?}", run.now - last);
}

/// Our Close is taken after 4.5 s; then a Pong behind it is refused for good.
#[test]
fn a_pong_behind_our_close_takes_none_of_the_time_for_the_peers() {
    for write_timeout in [SECOND, 30 * SECOND] {
        let mut conn = server(&Config { write_timeout, ..Config::default() });
        conn.sender_mut().close(None).unwrap();
        let mut now = Duration::ZERO;
        let mut failed = None;
        let ends = (0..10_000).any(|tick| {
            now = tick * 10 * MS;
            let left = conn.sender_mut().outgoing().remaining();
            if tick == 450.min(write_timeout.as_millis() as u32 / 20) {
                drain(&mut conn);
            } else if left > 0 {
                conn.report(Report::WriteBlocked);
            }
            if tick == 460 {
                receive(&mut conn, &frame_to(Role::Server, PING, "?"));
            }
            while failed.is_none() && conn.poll_timeout().is_some_and(|due| due <= Time::new(now)) {
                failed = tell_time(&mut conn, Time::new(now)).err();
            }
            failed.is_some()
        });
        assert!(ends);
        let taken = (4500 * MS).min(write_timeout / 2);
        assert_eq!(failed, Some(RecvError::CloseTimeout), "{write_timeout:?}");
        assert!(now >= taken + 5 * SECOND && now <= taken + 5 * SECOND + 20 * MS, "{now:?}");
    }
}

/// What was fed before the Close is delivered to a peer that reads, whoever closes.
#[test]
fn a_close_does_not_hurry_a_peer_that_reads() {
    for (role, first) in product(ROLES, [true, false]) {
        let mut run =
            Driven::new(role, &Config::default(), Line::new(16 << 10, 60_000, SECOND / 4));
        feed(&mut run, 1_000_000);
        match first {
            true => run.conn.sender_mut().close(CloseCode::GOING_AWAY).unwrap(),
            false => _ = receive(&mut run.conn, &frame_to(role, CLOSE, "")),
        }
        // Pings go on, and keep nobody waiting.
        run.pongs = first.then_some(3 * SECOND);
        let failed = run.run_with(30 * SECOND, |conn| {
            if first && !conn.sender().has_outgoing() && conn.closed().is_none() {
                receive(conn, &frame_to(role, CLOSE, ""));
            }
        });
        assert_eq!(failed, None, "{role:?} {first}");
        assert_eq!(run.conn.sender().dropped(), 0);
        let frames = run.frames();
        assert_eq!((frames.len(), frames[1].0), (2, CLOSE), "{role:?} {first}");
        assert!(run.conn.closed().unwrap().clean);
    }
}

#[test]
fn a_mute_peer_is_waited_for_no_longer_than_close_timeout() {
    for (role, first, waiting) in ROLES
        .into_iter()
        .flat_map(|role| [(role, true, true), (role, true, false), (role, false, true)])
    {
        let mut run = Driven::new(role, &Config::default(), Line::new(16 << 10, 0, SECOND));
        feed(&mut run, if waiting { 1_000_000 } else { 100 });
        match first {
            true => run.conn.sender_mut().close(CloseCode::GOING_AWAY).unwrap(),
            false => _ = receive(&mut run.conn, &frame_to(role, CLOSE, "")),
        }
        let case = format!("{role:?} {first} {waiting}");
        assert_eq!(run.run(HOUR), Some(RecvError::CloseTimeout), "{case}");
        assert!((5..=6).contains(&run.now.as_secs()), "{case}: {:?}", run.now);
    }
}

/// A peer that keeps asking, and so has Pongs behind our Close, puts off nothing.
#[test]
fn the_wait_for_the_peers_close_begins_once() {
    let mut run = Driven::new(Role::Server, &Config::default(), Line::new(1 << 20, 60_000, SECOND));
    run.conn.sender_mut().close(None).unwrap();
    let mut ticks = 0;
    let failed = run.run_with(HOUR, |conn| {
        if ticks % 400 == 0 {
            receive(conn, &frame_to(Role::Server, PING, "?"));
        }
        ticks += 1;
    });
    assert_eq!(failed, Some(RecvError::CloseTimeout));
    assert_eq!(run.now, 5 * SECOND);
}

/// 1.2 intervals and the timeout, whether or not the Ping can leave.
#[test]
fn a_vanished_peer_is_found_in_time_in_each_state() {
    let Heartbeat { interval, timeout, .. } = Heartbeat::BEHIND_PROXIES;
    let bound = interval * 6 / 5 + timeout;
    assert_eq!(bound, 44 * SECOND);
    for (role, buffer, fed) in ROLES.into_iter().flat_map(|role| {
        [(role, 1 << 20, 0), (role, 4096, 100), (role, 4096, 10_000), (role, 60_000, 1)]
    }) {
        // With a `write_timeout` that comes later.
        let config = Config { write_timeout: HOUR, ..Config::server() };
        let mut run = Driven::new(role, &config, Line::new(buffer, 0, SECOND));
        let failed = run.run_with(HOUR, |conn| {
            if fed > 0 && conn.sender().has_room() {
                let _ = conn.sender_mut().feed(&vec![7; fed]).unwrap();
            }
        });
        assert_eq!(failed, Some(RecvError::PongTimeout), "{role:?} {buffer} {fed}");
        assert!(run.now <= bound + 20 * MS, "{role:?} {buffer} {fed}: {:?}", run.now);
        assert!(run.now >= interval + timeout - SECOND);
    }
}

/// A Ping behind a long frame has not been accepted, and the peer is at work.
#[test]
fn a_ping_behind_a_long_frame_ends_nobody_who_takes_it() {
    let mut run = Driven::new(Role::Server, &Config::server(), Line::new(4096, 1000, 4 * SECOND));
    feed(&mut run, 200_000);
    // 200 s for the frame; the peer says nothing, because it has not got the Ping.
    assert_eq!(run.run(190 * SECOND), None);
    assert_eq!(run.run(HOUR), Some(RecvError::PongTimeout));
    assert!(run.now <= 230 * SECOND, "{:?}", run.now);
}
