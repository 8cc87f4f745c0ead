//! `Event::Room`, which says when to go on after a refusal. The peers only receive.
use crate::common::{Running, next, say};
#[cfg(feature = "rustls")]
use crate::placed::placed;
#[cfg(feature = "rustls")]
use crate::tls::keys;
use std::{
    mem,
    net::SocketAddr,
    sync::mpsc::{Receiver, channel},
    thread,
};
use testkit::PATIENCE;
use tickwire::{
    CloseCode, Config, Error, Message,
    blocking::{Stream, WebSocket},
    handshake::server::Accept,
};
use tickwire_loop::{Door, Event, SendError};
use tickwire_parts::{Outbox, Overflow, PushError};

/// How often a producer sends until a message is refused.
const FILLS: usize = 24;

#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The producer sends from a timer, and otherwise at `Open` and `Room`.
    by_timer: bool,
    /// An outbox refuses, and otherwise the connection.
    outbox: bool,
    /// The limit of what refuses.
    most: usize,
    /// The peer begins to read when its stream takes no more. It never reads otherwise.
    blocks: bool,
}

/// A server that sends until a message is refused, `FILLS` times, and goes on after each Room.
fn producer(plan: Plan, door: Door) -> (Running<()>, Receiver<()>) {
    let (tell, told) = channel();
    let (mut fills, mut refused, mut peer) = (0, false, None);
    let message = vec![7; plan.most / 2];
    let server = Running::at(Door::new(Config::default()), move |net, event| {
        match event {
            Event::Request { answer, .. } => return answer.accept(Accept::default(), ()),
            Event::Open(handle) => {
                peer = Some(handle);
                if plan.outbox {
                    let mut outbox = Outbox::new(Overflow::Wait);
                    outbox.max_bytes = plan.most;
                    net.set_outbox(handle, outbox);
                }
            }
            Event::Room(_) => {
                assert!(mem::take(&mut refused), "{plan:?}: a Room without a refusal");
                say(&tell, ());
            }
            Event::Timer(_) => {}
            _ => return,
        }
        if fills == FILLS {
            return;
        }
        if plan.by_timer && !matches!(event, Event::Timer(_)) {
            net.set_timer(net.now(), 0);
            return;
        }
        let error = loop {
            if let Err(error) = net.send(peer.unwrap(), &message[..]) {
                break error;
            }
        };
        match plan.outbox {
            true => assert_eq!(error, SendError::Outbox(PushError::Full)),
            false => assert!(matches!(error, SendError::Refused(_)), "{error}"),
        }
        (fills, refused) = (fills + 1, true);
    });
    (server.narrow(door), told)
}

fn each_refusal_has_one_room<S: Stream + Send + 'static>(
    plan: Plan,
    door: impl Fn(Config) -> Door,
    connect: impl Fn(SocketAddr) -> Result<WebSocket<S>, Error>,
) {
    let high_water = if plan.outbox { Config::default().high_water } else { plan.most };
    let (server, told) = producer(plan, door(Config { high_water, ..Config::default() }));
    let mut peer = connect(server.address).unwrap();
    if plan.blocks {
        server.wait_for(|counts| counts.queued > 0);
        thread::spawn(move || while peer.recv().is_ok_and(|message| message.is_some()) {});
    }
    for n in 0..FILLS {
        let room = told.recv_timeout(PATIENCE);
        room.unwrap_or_else(|_| panic!("{plan:?}: no Room {n}, {:?}", server.counts()));
    }
    server.wait_for(|counts| counts.queued == 0);
    assert!(told.try_recv().is_err());
}

/// From a timer and not, over `ws`, and over `wss` if there is TLS.
fn each_refusal_has_one_room_everywhere(outbox: bool, most: usize, blocks: bool) {
    for by_timer in [false, true] {
        over_both(Plan { by_timer, outbox, most, blocks });
    }
}

fn over_both(plan: Plan) {
    each_refusal_has_one_room(plan, Door::new, |address| {
        tickwire::blocking::connect(&format!("ws://{address}/"), &Config::default())
    });
    #[cfg(feature = "rustls")]
    for in_place in [true, false] {
        let keys = keys(in_place);
        let request = tickwire::handshake::client::Request::new("wss://localhost/").unwrap();
        let dial = tickwire::Dial::new(&request).tls(placed(keys.client.clone()));
        each_refusal_has_one_room(
            plan,
            |config| Door::new(config).tls(placed(keys.server.clone())),
            |address| {
                dial.blocking_connect_with(&Config::default(), |_| {
                    std::net::TcpStream::connect(address)
                })
            },
        );
    }
}

#[test]
fn room_follows_each_refusal_though_the_stream_never_blocks() {
    each_refusal_has_one_room_everywhere(false, 4 << 10, false);
}

#[test]
fn room_follows_each_refusal_when_the_stream_has_blocked() {
    each_refusal_has_one_room_everywhere(false, 1 << 20, true);
}

#[test]
fn room_follows_each_refusal_of_an_outbox_that_waits() {
    each_refusal_has_one_room_everywhere(true, 256 << 10, true);
}

/// More than `max_bytes` in one call of the handler, in the peer's turn and outside of it.
#[test]
fn an_outbox_gives_the_stream_what_it_takes_before_its_policy_acts() {
    for at_open in [true, false] {
        let (tell, told) = channel();
        let server = Running::<()>::at(Door::new(Config::default()), move |net, event| {
            let to = match event {
                Event::Request { answer, .. } => return answer.accept(Accept::default(), ()),
                Event::Open(handle) => {
                    let policy = Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER);
                    let mut outbox = Outbox::new(policy);
                    outbox.max_bytes = 16 << 10;
                    net.set_outbox(handle, outbox);
                    if !at_open {
                        return;
                    }
                    handle
                }
                Event::Message { from, .. } => from,
                _ => return,
            };
            for _ in 0..24 {
                net.send(to, &[7; 1024][..]).unwrap();
            }
            say(&tell, net.outbox(to).unwrap().counts());
        });
        let mut ws = server.connect();
        if !at_open {
            ws.send("subscribe").unwrap();
        }
        let counts = next(&told);
        assert!(counts.fed > 0 && counts.dropped == 0, "{counts:?}");
        for _ in 0..24 {
            assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&[7; 1024])));
        }
    }
}
