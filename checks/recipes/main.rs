//! The recipes that loop, as the pages print them: each meets once a peer that closes, one that
//! reads nothing and one that is gone. None may hang, spin, or lose what it is about.
//!
//! build.rs cuts the pages into blocks, and `recipe!` includes one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code)] // a block may have two functions, of which one loops
#![allow(clippy::single_match)] // a page shows the other arm, with its reason

use recipes::{
    ALL, Peer,
    Wrong::{self, *},
};
use std::{future::Future, net::TcpStream, time::Duration};
use testkit::{
    PATIENCE,
    threads::{bounded, tcp_pair},
};
use tickwire::{
    Config, Connection, Error, Heartbeat, Negotiated, SystemEntropy, tokio as on_tokio,
};

include!(concat!(env!("OUT_DIR"), "/looping.rs"));

macro_rules! recipe {
    ($block:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $block, ".rs"));
    };
}

/// Recipes with a loop that are not here, and why.
const ELSEWHERE: [(&str, &str); 6] = [
    ("cheatsheet/connect-send-receive", "checks/readme runs the README's client, which loops so"),
    ("browsers/the-proxy-protocol", "it reads a header, inside of a timeout; the page runs it"),
    ("latency/options-of-tcp-sockets", "it loops as the README's client"),
    ("latency/measure-from-wire-to-callback", "it loops as the README's client"),
    ("testing/test-without-sockets", "the page runs it"),
    ("testing/test-timeouts-without-waiting", "the page runs it"),
];

#[test]
fn each_recipe_with_a_loop_is_here() {
    let here = include_str!("main.rs");
    let mut missing: Vec<_> = LOOPING.to_vec();
    missing.retain(|block| !here.contains(&format!("recipe!(\"{block}\")")));
    assert!(LOOPING.len() - missing.len() > 10, "{missing:?}");
    assert_eq!(missing, ELSEWHERE.map(|(block, _)| block));
}

/// Only a deaf peer is given up, and soon.
fn config(wrong: Wrong) -> Config {
    let soon = Duration::from_secs(1);
    let waits = if wrong == Deaf { soon } else { PATIENCE };
    Config {
        heartbeat: Some(Heartbeat::new(waits, waits)),
        write_timeout: waits,
        close_timeout: waits,
        frame_timeout: PATIENCE,
        ..Config::default()
    }
}

fn server(wrong: Wrong) -> Connection {
    Connection::server(&config(wrong), Negotiated::default())
}

fn client(wrong: Wrong) -> Connection {
    Connection::client(&config(wrong), Negotiated::default(), SystemEntropy::new().unwrap())
}

type OnTokio = on_tokio::WebSocket<tokio::net::TcpStream>;

/// Runs `test` on a runtime of one thread, with each peer, and fails if it hangs.
fn each(test: impl AsyncFnOnce(Wrong, TcpStream, TcpStream) + Copy + Send + 'static) {
    for wrong in ALL {
        bounded(move || {
            let (near, far) = tcp_pair();
            near.set_nonblocking(true).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(test(wrong, near, far));
        });
    }
}

/// Inside of the runtime.
fn socket(near: TcpStream, conn: Connection) -> OnTokio {
    OnTokio::from_parts(tokio::net::TcpStream::from_std(near).unwrap(), conn)
}

/// Whoever says Close ended well; the others did not.
fn ends(wrong: Wrong, ended: Result<(), Error>) {
    assert_eq!(ended.is_ok(), wrong == Closes, "{wrong:?}: {ended:?}");
}

mod one_thread {
    use super::{ALL, Closes, Deaf, Peer, Wrong, bounded, client, ends, tcp_pair};
    recipe!("feeds/one-thread-that-sends-orders-and-receives-answers");

    /// Each order that `run` took is in `sent`, in order; the others are still in the channel.
    fn loses_no_order(wrong: Wrong, floods: bool) {
        let (near, far) = tcp_pair();
        let mut ws = WebSocket::from_parts(near, client(wrong));
        let peer = Peer { floods, ..Peer::server(far) }.goes(wrong, 50);
        let (order, orders) = std::sync::mpsc::channel();
        for number in 0..1000 {
            order.send(format!("{number:060000}")).unwrap();
        }
        let mut sent = Vec::new();
        let mut heard = 0;
        let ended = run(&mut ws, &orders, &mut sent, |_| heard += 1);
        ends(wrong, ended);
        assert!(heard == 1 || floods, "{wrong:?}: {heard}");
        assert_eq!(orders.try_iter().count(), 1000 - sent.len(), "{wrong:?}");
        let written = sent.iter().filter(|order| ws.sender().is_written(**order)).count();
        assert!(written >= if wrong == Deaf { 1 } else { 50 }, "{wrong:?}: {written}");
        if wrong == Closes {
            assert!(peer.join().unwrap().len() <= written);
        }
    }

    #[test]
    fn loses_no_order_whatever_its_peer_does() {
        for (wrong, floods) in ALL.map(|wrong| (wrong, false)).into_iter().chain([(Deaf, true)]) {
            bounded(move || loses_no_order(wrong, floods));
        }
    }
}

mod with_deadlines {
    use super::{ALL, Closes, Deaf, Peer, bounded, client, tcp_pair};
    use std::time::Duration;
    recipe!("feeds/orders-with-deadlines");

    #[test]
    fn return_in_time() {
        for wrong in ALL {
            bounded(move || {
                let (near, far) = tcp_pair();
                let mut ws = WebSocket::from_parts(near, client(wrong));
                let _peer = Peer::server(far).goes(wrong, 0);
                let by = Instant::now() + Duration::from_millis(500);
                let answer =
                    answer_by(&mut ws, by, |m| m.as_text().filter(|m| *m == "no").map(drop));
                assert_eq!(
                    matches!(answer, Ok(None)),
                    wrong == Closes || wrong == Deaf,
                    "{wrong:?}"
                );
            });
        }
    }
}

mod requests {
    use super::{Closes, Gone, Peer, client, each, ends, socket};
    recipe!("feeds/requests-and-answers");

    /// A call learns that nobody answers, and one behind the end waits for the next connection.
    #[test]
    fn are_all_settled() {
        each(async |wrong, near, far| {
            let mut ws = socket(near, client(wrong));
            let peer = Peer::server(far).goes(wrong, 1);
            let (calls, mut inbox) = mpsc::channel(8);
            let one = call(&calls, b"order".to_vec());
            let (ended, one) = tokio::join!(drive(&mut ws, &mut inbox), one);
            // A deaf peer has them for all that we know.
            assert!(matches!(one, Err(NoAnswer::Unknown)), "{wrong:?}");
            ends(wrong, ended);
            if wrong == Closes || wrong == Gone {
                assert_eq!(peer.join().unwrap().len(), 1, "{wrong:?}");
            }
            tokio::time::pause();
            let late = call(&calls, b"late".to_vec()).await;
            assert!(matches!(late, Err(NoAnswer::NotSent)), "{wrong:?}");
        });
    }
}

mod reconnecting {
    use super::{Closes, Deaf, Gone, Peer, bounded};
    recipe!("feeds/reconnect");

    #[test]
    fn dials_again_until_a_code_is_final() {
        bounded(|| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("ws://{}/", listener.local_addr().unwrap());
            let exchange = std::thread::spawn(move || {
                for (wrong, code) in [(Gone, 0), (Deaf, 0), (Closes, 1001), (Closes, 3000)] {
                    let io = listener.accept().unwrap().0;
                    let ws = tickwire::blocking::accept(io, &Config::server()).unwrap();
                    let io = ws.get_ref().try_clone().unwrap();
                    let peer = Peer { code, ..Peer::server(io) }.goes(wrong, 1);
                    drop(ws);
                    if wrong != Deaf {
                        assert_eq!(peer.join().unwrap(), [b"subscribe ticks"], "{wrong:?}");
                    }
                }
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let mut open = None;
            let request = Request::new(&url).unwrap();
            let ended = runtime.unwrap().block_on(follow(&request, &mut open));
            assert_eq!(ended.unwrap(), 3000);
            exchange.join().unwrap();
        });
    }
}

mod subscriber {
    use super::{Peer, each, ends, server, socket};
    recipe!("servers/receive-and-publish-in-one-task");

    #[test]
    fn ends_with_its_peer() {
        each(async |wrong, near, far| {
            let ws = socket(near, server(wrong));
            let _peer = Peer { floods: false, ..Peer::client(far) }.goes(wrong, 3);
            let (publisher, ticks) = broadcast::channel(16);
            tokio::spawn(async move {
                while publisher.send(Prepared::new(&[0; 30_000][..])).is_ok() {
                    tokio::task::yield_now().await;
                }
            });
            ends(wrong, subscriber(ws, ticks).await);
        });
    }
}

mod two_tasks {
    use super::{Peer, each, ends, server, socket};
    recipe!("servers/two-tasks");

    #[test]
    fn end_with_their_peer() {
        each(async |wrong, near, far| {
            let ws = socket(near, server(wrong));
            let _peer = Peer { floods: false, ..Peer::client(far) }.goes(wrong, 3);
            let (sender, orders) = mpsc::channel(16);
            tokio::spawn(async move { while sender.send(vec![0; 30_000]).await.is_ok() {} });
            ends(wrong, serve(ws, orders).await);
        });
    }
}

mod topics {
    use super::{Peer, each, ends, server, socket};
    use tickwire_parts::Overflow;
    recipe!("servers/topics-for-each-client");

    #[test]
    fn end_with_their_subscriber() {
        each(async |wrong, near, far| {
            let ws = socket(near, server(wrong));
            let _peer = Peer { floods: false, ..Peer::client(far) }.goes(wrong, 3);
            let outbox = Mutex::new(Outbox::new(Overflow::Conflate));
            let me = Arc::new(Subscriber { outbox, news: Notify::new() });
            let subscribers = Mutex::new(HashMap::from([(1, me.clone())]));
            let topic = Topic { key: 1, subscribers };
            let epoch = std::time::Instant::now();
            tokio::spawn(async move {
                loop {
                    publish(Time::new(epoch.elapsed()), &topic, &Prepared::new(&[0; 30_000][..]));
                    tokio::task::yield_now().await;
                }
            });
            let mut heeded = 0;
            let now = || Time::new(epoch.elapsed());
            ends(wrong, session(ws, &me, now, |_| heeded += 1).await);
            assert_eq!(heeded, 1, "{wrong:?}");
        });
    }
}

mod many_on_one_thread {
    use super::{ALL, Peer, bounded, ends, server, tcp_pair};
    recipe!("servers/many-connections-on-one-thread");

    #[test]
    fn let_a_player_leave() {
        for wrong in ALL {
            bounded(move || {
                let (near, far) = tcp_pair();
                near.set_nonblocking(true).unwrap();
                let ws = WebSocket::from_parts(near, server(wrong));
                let mut player = Player { ws, snapshots: Outbox::new(Overflow::Conflate) };
                let _peer = Peer::client(far).goes(wrong, 3);
                let epoch = std::time::Instant::now();
                let snapshot = Prepared::new(&[0; 30_000][..]);
                let ended = loop {
                    match tick(&mut player, Time::new(epoch.elapsed()), &snapshot) {
                        Ok(true) => std::thread::yield_now(),
                        Ok(false) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                };
                ends(wrong, ended);
            });
        }
    }
}

mod passing_over {
    use super::{Peer, each, ends, server, socket};
    recipe!("servers/pass-over-messages-that-are-too-large");

    #[test]
    fn ends_with_its_peer() {
        each(async |wrong, near, far| {
            let mut ws = socket(near, server(wrong));
            let _peer = Peer { floods: false, ..Peer::client(far) }.goes(wrong, 0);
            let mut small = Small::default();
            let mut received = 0;
            let ended = loop {
                match small.recv(&mut ws, 10).await {
                    Ok(Some(_)) => received += 1,
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            ends(wrong, ended);
            assert_eq!(received, 1);
        });
    }
}

mod relaying {
    use super::{Closes, Peer, each, ends, socket, tcp_pair};
    use tickwire::{Connection, Negotiated};
    recipe!("servers/relay-control-frames");

    /// The peer that goes wrong is a client, and the server behind the relay sends much.
    #[test]
    fn ends_with_its_peer() {
        each(async |wrong, near, far| {
            let (to_server, far_server) = tcp_pair();
            to_server.set_nonblocking(true).unwrap();
            let behind = std::thread::spawn(move || {
                let conn = Connection::server(&Config::server(), Negotiated::default());
                let mut ws = tickwire::blocking::WebSocket::from_parts(far_server, conn);
                let mut sent = 0;
                while wrong != Closes && sent < 1000 && ws.send(vec![0; 30_000]).is_ok() {
                    sent += 1;
                }
                while let Ok(Some(_)) = ws.recv() {}
                ws.closed().map(|end| end.code)
            });
            let _peer = Peer { floods: false, ..Peer::client(far) }.goes(wrong, 0);
            let settings = Config { auto_pong: false, auto_close: false, ..super::config(wrong) };
            let entropy = tickwire::SystemEntropy::new().unwrap();
            let server = Connection::server(&settings, Negotiated::default());
            let client = Connection::client(&settings, Negotiated::default(), entropy);
            let halves =
                |io, conn| socket(io, conn).into_split_with(tokio::net::TcpStream::into_split);
            let (mut from_client, mut to_client) = halves(near, server);
            let (mut from_server, mut to_server) = halves(to_server, client);
            let there = relay(&mut from_client, &mut to_server);
            let back = relay(&mut from_server, &mut to_client);
            ends(wrong, tokio::try_join!(there, back).map(drop));
            drop((from_client, to_client, from_server, to_server));
            let code = behind.join().unwrap();
            assert_eq!(code, Some(if wrong == Closes { 1012 } else { 1006 }), "{wrong:?}");
        });
    }
}

mod stream_of_ones_own {
    use super::{Closes, Peer, client, each, socket};
    use futures_util::StreamExt;
    recipe!("servers/a-stream-of-your-own");

    /// Also for a consumer that goes on after an error.
    #[test]
    fn ends() {
        each(async |wrong, near, far| {
            let ws = socket(near, client(wrong));
            let _peer = Peer::server(far).goes(wrong, 0);
            let mut stream = Counted { ws, texts: 0, ended: false };
            let mut errors = 0;
            while let Some(item) = stream.next().await {
                errors += usize::from(item.is_err());
                assert!(errors < 2, "{wrong:?}: it repeats its error");
            }
            assert_eq!(errors, usize::from(wrong != Closes), "{wrong:?}");
            assert!(stream.next().await.is_none());
        });
    }
}

/// Opens `far` as a client, while `serving` answers; pauses the clock for a deaf peer, whose
/// deadlines are those of `Config::server()`.
async fn opened(
    wrong: Wrong,
    peer: Peer,
    after: usize,
    serving: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let opens = async {
        let opened = tokio::task::spawn_blocking(move || peer.opens()).await.unwrap();
        if wrong == Deaf {
            tokio::time::pause();
        }
        opened.goes(wrong, after)
    };
    tokio::join!(serving, opens).0
}

mod shutdown {
    use super::{Closes, Gone, Peer, each, ends, opened};
    recipe!("operations/shut-down-gracefully");

    #[test]
    fn waits_for_no_peer() {
        each(async |wrong, near, far| {
            let (stop, stopping) = watch::channel(false);
            let near = TcpStream::from_std(near).unwrap();
            let ended = opened(wrong, Peer::client(far), 0, serve(near, stopping)).await;
            ends(wrong, ended);
            drop(stop);
        });
    }

    #[test]
    fn stops() {
        each(async |wrong, near, far| {
            let (stop, stopping) = watch::channel(false);
            let near = TcpStream::from_std(near).unwrap();
            let peer = Peer { floods: false, ..Peer::client(far) };
            let stopped = async {
                let ended = opened(wrong, peer, 0, serve(near, stopping)).await;
                // Whether a peer is gone before our Close or behind it is a race.
                assert!(
                    wrong == Gone || ended.is_ok() == (wrong == Closes),
                    "{wrong:?}: {ended:?}"
                );
            };
            tokio::join!(stopped, async { stop.send(true).unwrap() });
        });
    }
}

mod logging {
    use super::{Peer, each, ends, opened};
    recipe!("operations/tell-connections-apart-in-a-log");

    #[test]
    fn ends_with_its_peer() {
        each(async |wrong, near, far| {
            let near = TcpStream::from_std(near).unwrap();
            let peer = Peer { floods: false, ..Peer::client(far) };
            ends(wrong, opened(wrong, peer, 0, session(near)).await);
        });
    }
}

mod own_loop {
    use super::{Closes, Gone, bounded, client, server, tcp_pair};
    use testkit::tls::Identity;
    use tickwire::{CloseCode, blocking};
    recipe!("latency/wss-in-your-own-loop");

    /// A deaf peer is nothing to it: it only receives, and waits as long as its stream.
    #[test]
    fn ends_with_its_peer() {
        for wrong in [Closes, Gone] {
            bounded(move || {
                let (mut near, far) = tcp_pair();
                let identity = Identity::self_signed(&["localhost"]);
                let mut far = blocking::TlsStream::server(far, identity.server()).unwrap();
                let peer = std::thread::spawn(move || {
                    far.handshake().unwrap();
                    let mut ws = blocking::WebSocket::from_parts(far, server(wrong));
                    ws.send("hello").unwrap();
                    if wrong == Closes {
                        ws.close(CloseCode::NORMAL).unwrap();
                    }
                });
                let request = Request::new("wss://localhost/").unwrap();
                let tls = Session::client(identity.client(), request.target()).unwrap();
                let ended = run((client(wrong), tls), &mut near);
                assert_eq!(ended.is_ok(), wrong == Closes, "{wrong:?}: {ended:?}");
                peer.join().unwrap();
            });
        }
    }
}

mod cheat_sheet {
    use super::{Peer, each, ends, opened};
    recipe!("cheatsheet/serve");

    #[test]
    fn ends_with_its_peer() {
        each(async |wrong, near, far| {
            let near = TcpStream::from_std(near).unwrap();
            ends(wrong, opened(wrong, Peer::client(far), 0, echo(near)).await);
        });
    }
}

mod two_halves {
    use super::{Peer, each, ends, server, socket};
    recipe!("cheatsheet/two-tasks");

    #[test]
    fn end_with_their_peer() {
        each(async |wrong, near, far| {
            let peer = Peer { floods: false, ..Peer::client(far) };
            let _peer = peer.goes(wrong, 1);
            ends(wrong, both(socket(near, server(wrong))).await);
        });
    }
}

mod migrated {
    use super::{Peer, each, ends, server, socket};
    recipe!("migrating/from-fastwebsockets");

    #[test]
    fn ends_with_its_peer() {
        each(async |wrong, near, far| {
            let _peer = Peer::client(far).goes(wrong, 0);
            ends(wrong, echo(socket(near, server(wrong))).await);
        });
    }
}
