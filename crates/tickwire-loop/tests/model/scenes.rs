//! Promises of the documentation that a random script rarely comes to.
use crate::{
    script::LONG,
    wire::{BINARY, Peer, TEXT, Tls, dial, door, listener},
};
use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, Config, Heartbeat, Prepared,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Door, Event, Handle, Loop, Net, Settings};
use tickwire_parts::{Outbox, Overflow};

/// A loop with a door, raw peers, and the texts of the events that came.
struct Stage {
    net: Loop<()>,
    door: SocketAddr,
    tls: bool,
    config: Arc<Config>,
    peers: Vec<Peer>,
    log: Vec<String>,
    opened: Option<Handle>,
    /// The length of the body with which requests are rejected.
    rejects: Option<usize>,
}

/// What a handler does at the event with this text.
type Hook<'h> = &'h mut dyn FnMut(&mut Net<'_, ()>, &str);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Fails if it hangs.
fn ends(test: impl FnOnce() + Send + 'static) {
    let (done, result) = mpsc::channel();
    thread::spawn(move || {
        test();
        done.send(())
    });
    result.recv_timeout(LONG).expect("it hangs or panics");
}

fn settings() -> Settings {
    Settings { io_uring: crate::io_uring(), ..Settings::default() }
}

fn outbox(policy: Overflow, max_bytes: usize, max_unsent: usize) -> Outbox {
    let mut outbox = Outbox::new(policy);
    (outbox.max_bytes, outbox.max_unsent) = (max_bytes, max_unsent);
    outbox
}

/// A handler that acts at the events whose names begin so.
fn when<'a, R>(
    name: &'a str,
    mut act: impl FnMut(&mut Net<'_, ()>) -> R + 'a,
) -> impl FnMut(&mut Net<'_, ()>, &str) + 'a {
    move |net, text| {
        if text.starts_with(name) {
            act(net);
        }
    }
}

impl Stage {
    fn new(settings: Settings, config: Config, tls: bool, listener: TcpListener) -> Self {
        let (mut net, config) = (Loop::new(settings).unwrap(), Arc::new(config));
        let door = door(&config, tls.then(Tls::get));
        let door = net.net().listen_on(listener, door).unwrap();
        let (peers, log) = (Vec::new(), Vec::new());
        Self { net, door, tls, config, peers, log, opened: None, rejects: None }
    }

    fn each(settings: Settings, config: Config, tiny: bool, test: impl Fn(Self)) {
        for tls in [false, true] {
            test(Self::new(settings.clone(), config.clone(), tls, listener(tiny)));
        }
    }

    fn turn(&mut self, hook: Hook<'_>) {
        let goes_on = self.net.turn(ms(1), |net, event| {
            let text = format!("{event:?}");
            match (event, self.rejects) {
                (Event::Open(handle), _) => self.opened = Some(handle),
                (Event::Request { answer, .. }, None) => answer.accept(Accept::default(), ()),
                (Event::Request { answer, .. }, Some(len)) => {
                    answer.reject(Rejection::new(404).body(vec![7; len]));
                }
                _ => {}
            }
            hook(net, &text);
            self.log.push(text);
        });
        goes_on.unwrap();
        self.peers.iter_mut().for_each(|peer| peer.pump());
    }

    fn until(&mut self, what: &str, hook: Hook<'_>, is: impl Fn(&mut Self) -> bool) {
        let began = Instant::now();
        while !is(self) {
            self.turn(hook);
            assert!(began.elapsed() < LONG, "tls {}: does not come: {what}", self.tls);
        }
    }

    fn wait(&mut self, what: &str, is: impl Fn(&mut Self) -> bool) {
        self.until(what, &mut |_, _| {}, is);
    }

    /// The events of a connection whose names begin so.
    fn events(&self, of: Handle, name: &str) -> Vec<&String> {
        let of = format!("{of:?}");
        self.log.iter().filter(|text| text.starts_with(name) && text.contains(&of)).collect()
    }

    fn ends(&mut self, of: Handle, hook: Hook<'_>) {
        self.until("Closed", hook, |stage| !stage.events(of, "Closed").is_empty());
    }

    fn opens(&mut self, hook: Hook<'_>) -> Handle {
        self.opened = None;
        let open = |peer: &Peer| peer.head.is_some();
        self.until("an open connection", hook, |stage| {
            stage.opened.is_some() && stage.peers.last().is_some_and(open)
        });
        self.opened.unwrap()
    }

    /// A raw client, with a small receive buffer if `tiny`.
    fn client(&mut self, tiny: bool) -> Handle {
        self.peers.extend(Peer::ask(self.door, self.tls, tiny, 0));
        self.opens(&mut |_, _| {})
    }

    /// A raw server, which the loop dials.
    fn server(&mut self, hook: Hook<'_>) -> Handle {
        let listener = listener(false);
        let to = listener.local_addr().unwrap();
        let dial = dial(&self.config, self.tls.then(Tls::get), to.port(), &[to], "");
        self.net.net().dial(dial, ()).unwrap();
        self.turn(hook);
        self.peers.push(Peer::new(listener.accept().unwrap().0, 1, self.tls));
        self.opens(hook)
    }
}

#[test]
fn a_dialed_connection_that_writes_to_others_when_it_opens_keeps_its_deadlines() {
    let heartbeat = Some(Heartbeat::new(ms(20), ms(20)));
    let config = Config { heartbeat, ..Config::default() };
    Stage::each(Settings { max_whole: 0, ..settings() }, config, false, |mut stage| {
        let other = stage.client(false);
        let dialed = stage.server(&mut when("Open", |net| net.send(other, "more")));
        stage.peers.iter_mut().for_each(|peer| peer.polite = false);
        stage.ends(other, &mut |_, _| {});
        stage.ends(dialed, &mut |_, _| {});
    });
}

/// Sends 100 messages in one call to a peer that reads, through an outbox with room for a few.
fn burst(close: bool, max_bytes: usize) {
    for max_unsent in [1, Outbox::MAX_UNSENT] {
        Stage::each(settings(), Config::default(), false, |mut stage| {
            let to = stage.client(false);
            let policy = Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER);
            stage.net.net().set_outbox(to, outbox(policy, max_bytes, max_unsent));
            stage.net.net().set_timer(tickwire::Time::ZERO, 0);
            let mut send = when("Timer", |net| {
                (0..100).for_each(|n| assert_eq!(net.send(to, vec![n; 1000]), Ok(()), "no {n}"));
                if close {
                    net.close(to, CloseCode::NORMAL);
                }
            });
            stage.until("message 100", &mut send, |stage| {
                let (peer, n) = (&stage.peers[0], stage.peers[0].messages().len());
                assert!(peer.closed.is_none() || n == 100, "a Close after {n} messages");
                n == 100
            });
        });
    }
}

#[test]
fn a_subscriber_that_reads_gets_all_that_one_call_sends_through_its_outbox() {
    burst(false, 20_000);
}

#[test]
fn a_close_follows_all_that_the_outbox_of_a_peer_that_reads_holds() {
    burst(true, 200_000);
}

#[test]
fn an_outbox_goes_on_when_its_peer_reads_again() {
    for max_unsent in [1, Outbox::MAX_UNSENT] {
        Stage::each(settings(), Config::default(), true, |mut stage| {
            let to = stage.client(true);
            stage.net.net().set_outbox(to, outbox(Overflow::Wait, 1 << 20, max_unsent));
            let peer = stage.peers.pop().unwrap(); // it does not read
            for _ in 0..25 {
                stage.net.net().send(to, vec![1; 40_000]).unwrap();
                stage.turn(&mut |_, _| {});
            }
            stage.peers.push(peer);
            stage.wait("25 messages", |stage| stage.peers[0].messages().len() == 25);
        });
    }
}

#[test]
fn a_rejection_of_any_length_arrives_whole() {
    for (len, tiny) in [(70_000, false), (70_000, true), (3_000_000, false)] {
        Stage::each(settings(), Config::default(), tiny, |mut stage| {
            stage.peers.extend(Peer::ask(stage.door, stage.tls, false, 0));
            stage.rejects = Some(len);
            stage.wait("the end", |stage| stage.peers[0].end.is_some());
            let peer = &stage.peers[0];
            assert_eq!((peer.status(), peer.body.len()), (Some(404), len), "tls {}", stage.tls);
        });
    }
}

#[test]
fn a_closing_connection_refuses_messages_whether_or_not_it_has_an_outbox() {
    for has_outbox in [false, true] {
        Stage::each(settings(), Config::default(), false, |mut stage| {
            let from = stage.client(false);
            let outbox = has_outbox.then(|| Outbox::new(Overflow::Wait));
            stage.net.net().set_outbox(from, outbox);
            stage.peers[0].close(1000);
            let mut sent = None;
            let mut send = when("Control", |net| {
                let many = net.send_to([from], &Prepared::new("late"));
                sent = Some((net.send(from, "late").is_ok(), many.taken, many.refused));
            });
            stage.ends(from, &mut send);
            drop(send);
            assert_eq!(sent, Some((false, 0, 1)), "with an outbox: {has_outbox}");
        });
    }
}

#[test]
fn a_paused_connection_delivers_no_message_when_a_deadline_passes() {
    let config = Config { close_timeout: ms(50), ..Config::default() };
    Stage::each(settings(), config, false, |mut stage| {
        let from = stage.client(false);
        let _ = [b"1", b"2", b"3"].map(|message| stage.peers[0].frame(TEXT, message));
        stage.peers[0].polite = false;
        let mut pause = when("Message", |net| {
            net.pause(from, true);
            net.close(from, CloseCode::NORMAL);
        });
        stage.ends(from, &mut pause);
        assert_eq!(stage.events(from, "Message").len(), 1, "{:?}", stage.log.last());
    });
}

#[test]
fn a_configuration_that_rustls_refuses_leaves_nothing() {
    ends(|| {
        let mut stage = Stage::new(settings(), Config::default(), false, listener(false));
        let mut tls = (*Tls::get().server).clone();
        tls.max_fragment_size = Some(1); // rustls wants at least 32
        let door = Door::new(Config::default()).tls(tls);
        let address = stage.net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
        stage.peers.extend(Peer::ask(address, true, false, 0));
        stage.wait("the end", |stage| stage.peers[0].end.is_some());
        assert_eq!(stage.net.net().counts().handshakes_failed, 1);
        assert_eq!(stage.net.net().handles().count(), 0, "it still has a handle");
        stage.net.net().shut_down(Duration::ZERO);
        stage.net.run(|_, _| {}).unwrap();
    });
}

#[test]
fn run_returns_at_once_if_a_shutdown_outside_of_it_finds_no_connection() {
    ends(|| {
        let mut net = Loop::<()>::new(settings()).unwrap();
        net.net().shut_down(4 * LONG);
        net.run(|_, _| {}).unwrap();
    });
}

#[test]
fn a_stop_outside_of_a_round_ends_the_loop_before_the_next_one() {
    let mut net = Loop::<()>::new(settings()).unwrap();
    net.net().waker().wake().unwrap();
    net.net().stop();
    net.run(|_, event| panic!("{event:?}")).unwrap();
}

#[test]
fn connections_open_and_echo_under_the_least_settings() {
    for settings in [
        Settings { turn_bytes: 0, ..settings() },
        Settings { turn_messages: 0, max_whole: 0, max_handshakes: 0, ..settings() },
    ] {
        Stage::each(settings, Config::default(), false, |mut stage| {
            let from = stage.client(false);
            stage.peers[0].frame(BINARY, &[1; 70_000]);
            let mut echo = when("Message", |net| net.send(from, "echo"));
            stage.until("an echo", &mut echo, |stage| stage.peers[0].messages() == [b"echo"]);
        });
    }
}

#[test]
fn a_turn_of_any_length_sleeps_until_something_happens() {
    for most in [Duration::MAX, LONG] {
        let mut net = Loop::<()>::new(settings()).unwrap();
        let (waker, mut turns, mut woken) = (net.net().waker(), 0, false);
        let thread = thread::spawn(move || {
            thread::sleep(ms(300));
            waker.wake().unwrap();
        });
        while !woken {
            net.turn(most, |_, _| woken = true).unwrap();
            turns += 1;
        }
        thread.join().unwrap();
        assert!(turns < 10, "{turns} turns of up to {most:?} while nothing happened");
    }
}

#[test]
fn the_end_of_a_subscriber_that_its_outbox_disconnected_has_the_code() {
    let config = Config { close_timeout: ms(50), ..Config::default() };
    Stage::each(settings(), config, true, |mut stage| {
        let to = stage.client(true);
        let policy = Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER);
        stage.net.net().set_outbox(to, outbox(policy, 200_000, Outbox::MAX_UNSENT));
        let _peer = stage.peers.pop(); // it does not read
        stage.wait("Closed", |stage| {
            let _ = stage.net.net().send(to, vec![1; 50_000]);
            !stage.events(to, "Closed").is_empty()
        });
        let end = stage.events(to, "Closed")[0];
        assert!(end.contains("Disconnected(") && end.contains("1013"), "tls {}: {end}", stage.tls);
        assert_eq!(stage.net.net().counts().disconnected, 1);
    });
}

#[test]
fn the_address_of_a_peer_is_known_as_long_as_its_handle_names_a_connection() {
    Stage::each(settings(), Config::default(), false, |mut stage| {
        let from = stage.client(false);
        stage.peers.pop().unwrap().reset();
        let net = stage.net.net();
        assert_eq!(net.value(from).is_some(), net.peer_addr(from).is_some());
    });
}

#[test]
fn peers_that_read_at_once_are_not_disconnected_for_what_is_queued() {
    let settings = Settings { max_queued: 1000, ..settings() };
    Stage::each(settings, Config::default(), false, |mut stage| {
        let to = stage.client(false);
        for n in 1..10 {
            assert_eq!(stage.net.net().send(to, vec![1; 1200]), Ok(()), "message {n}");
            stage.turn(&mut |_, _| {});
        }
        stage.wait("9 messages", |stage| stage.peers[0].messages().len() == 9);
    });
}
