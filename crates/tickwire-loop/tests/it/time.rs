//! Timers, deadlines, wakers, ways to wait, and the end of a loop.
use crate::common::{chosen, echo, listening, next, say, telling};
use std::{
    io::{Read, Write},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};
use testkit::PATIENCE;
use tickwire::{Config, Error, Heartbeat, Message, RecvError, Time, handshake::server::Accept};
use tickwire_loop::{Door, End, Event, Loop, Net, Settings, Waiting};

const MS: Duration = Duration::from_millis(1);

#[test]
fn timers_come_in_order_and_a_cancelled_one_does_not() {
    let mut net = Loop::<()>::new(chosen(Settings::default())).unwrap();
    let began = Instant::now();
    let mut commands = net.net();
    let now = commands.now();
    let cancelled = commands.set_timer(now + 20 * MS, 2);
    commands.set_timer(now + 60 * MS, 3);
    commands.set_timer(now + 5 * MS, 1);
    assert_eq!(commands.cancel_timer(cancelled), Some(2));
    assert_eq!(commands.cancel_timer(cancelled), None);
    let mut come = Vec::new();
    net.run(|net, event| {
        let Event::Timer(number) = event else { panic!("{event:?}") };
        come.push(number);
        match number {
            1 => drop(net.set_timer(Time::ZERO, 4)),
            3 => net.stop(),
            _ => {}
        }
    })
    .unwrap();
    assert_eq!(come, [1, 4, 3]);
    assert!(began.elapsed() >= 60 * MS);
    assert!(!net.turn(MS, |_, _| {}).unwrap(), "it has ended");
}

#[test]
fn a_round_waits_no_longer_than_it_may() {
    let mut net = Loop::<()>::new(chosen(Settings::default())).unwrap();
    assert!(net.turn(MS, |_, event| panic!("{event:?}")).unwrap());
}

#[test]
fn a_waker_ends_the_wait_however_the_loop_waits() {
    for waiting in [Waiting::Sleep, Waiting::Spin, Waiting::SpinFor(5 * MS)] {
        let settings = chosen(Settings { waiting, ..Settings::default() });
        let mut net = Loop::<()>::new(settings).unwrap();
        let waker = net.net().waker();
        let thread = thread::spawn(move || {
            thread::sleep(20 * MS);
            waker.wake().unwrap();
            waker.wake().unwrap();
            drop(waker);
        });
        let (mut woken, mut turns) = (0, 1);
        let mut wake = |net: &mut Net<'_, ()>, event: Event<'_, ()>| {
            assert!(matches!(event, Event::Woken));
            woken += 1;
            net.stop();
        };
        while net.turn(Duration::MAX, &mut wake).unwrap() {
            turns += 1;
        }
        assert_eq!(woken, 1);
        assert!(turns < 10 || waiting != Waiting::Sleep, "{turns} turns while nothing happened");
        thread.join().unwrap();
        // A connection is served that way too.
        let server = echo(Settings { waiting, ..Settings::default() }, Config::default());
        let mut ws = server.connect();
        ws.send("spin").unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Text("spin")));
    }
}

/// Each peer falls silent in another phase.
#[test]
fn deadlines_of_connections_come_in_every_phase() {
    let config = Config { heartbeat: Some(Heartbeat::new(50 * MS, 50 * MS)), ..Config::default() };
    let (server, told) = telling::<(), _>(Door::new(config), |_, event| match event {
        Event::Closed { end: End::Closed(closed), .. } => Some(closed.error),
        Event::Closed { end, .. } => panic!("{end:?}"),
        _ => None,
    });
    // By a door of its own: a busy machine's handshake takes as long.
    let brief = Door::new(Config { handshake_timeout: 100 * MS, ..Config::default() });
    let address = server.call(|net| net.listen(([127, 0, 0, 1], 0).into(), brief).unwrap());
    let _opening = std::net::TcpStream::connect(address).unwrap();
    let _open = server.raw_open();
    assert_eq!(next(&told), Some(RecvError::PongTimeout));
    server.wait_for(|counts| counts.accepted_now == 0 && counts.handshakes_failed == 1);
}

#[test]
fn half_a_frame_is_waited_for_no_longer_than_its_timeout() {
    let server = echo(Settings::default(), Config { frame_timeout: 100 * MS, ..Config::default() });
    for (whole, answer) in [(&b""[..], &b""[..]), (b"\x82\x81\0\0\0\0a", b"\x82\x01a")] {
        let (mut raw, mut back) = (server.raw_open(), Vec::new());
        raw.write_all(&[whole, b"\x82\x85\0\0\0\0ab"].concat()).unwrap();
        raw.read_to_end(&mut back).unwrap();
        assert_eq!(back, answer); // no Close: a peer that is silent reads none
    }
}

#[test]
fn a_shutdown_closes_every_connection_with_1001_and_ends_the_loop() {
    let (tell, told) = channel();
    let server = thread::spawn(move || {
        let (mut net, address) = listening::<()>(Settings::default(), Door::new(Config::default()));
        say(&tell, address);
        let mut closed = 0;
        net.run(|net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Message { .. } => net.shut_down(PATIENCE),
            Event::Closed { .. } => closed += 1,
            _ => {}
        })
        .unwrap();
        closed
    });
    let address = next(&told);
    let request = tickwire::handshake::client::Request::new("ws://localhost/").unwrap();
    let connect = || {
        let stream = std::net::TcpStream::connect(address).unwrap();
        tickwire::blocking::client(stream, &request, &Config::default()).unwrap()
    };
    let (mut one, mut other) = (connect(), connect());
    let silent = std::net::TcpStream::connect(address).unwrap(); // in its handshake
    one.send("the end").unwrap();
    for ws in [&mut one, &mut other] {
        assert_eq!(ws.recv().unwrap(), None);
        assert_eq!(ws.connection().closed().unwrap().code, 1001);
    }
    assert_eq!(server.join().unwrap(), 2);
    drop(silent);
}

/// If the peer's time to answer the Close is over at the same time, either end comes, once.
#[test]
fn a_shutdown_ends_in_time_though_a_peer_does_not_answer() {
    let timed_out = End::Failed(Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut)));
    let timed_out = format!("{timed_out:?}");
    assert_eq!(end_of_a_shutdown(Config::default()), timed_out);
    let end = end_of_a_shutdown(Config { close_timeout: 50 * MS, ..Config::default() });
    assert!(end == timed_out || end.contains("error: Some(CloseTimeout:"), "{end}");
}

/// Shuts a loop down within 50 ms, though its peer does not answer. Returns the one end that came.
fn end_of_a_shutdown(config: Config) -> String {
    let (mut net, address) = listening::<()>(Settings::default(), Door::new(config));
    let peer = thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut stream, crate::common::REQUEST.as_bytes()).unwrap();
        crate::common::read_head(&mut stream);
        thread::park_timeout(PATIENCE); // it neither reads nor closes
    });
    let mut ends = Vec::new();
    let began = Instant::now();
    net.run(|net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Open(_) => net.shut_down(50 * MS),
        Event::Closed { end, .. } => ends.push(format!("{end:?}")),
        _ => {}
    })
    .unwrap();
    assert!(began.elapsed() >= 50 * MS);
    peer.thread().unpark();
    peer.join().unwrap();
    assert_eq!(ends.len(), 1, "{ends:?}");
    ends.remove(0)
}
