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
    Config, Connection, Error, Heartbeat, Negotiated, SystemEntropy, handshake::client::Request,
    tokio as on_tokio,
};

include!(concat!(env!("OUT_DIR"), "/looping.rs"));

type Tested = Result<(), Box<dyn std::error::Error>>;

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
    use super::{
        ALL, Closes, Config, Deaf, Duration, Gone, Peer, Request, Tested, Wrong, bounded, client,
        ends, tcp_pair,
    };
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

    #[test]
    fn hears_all_that_a_peer_said_before_its_reset() {
        bounded(|| {
            let (near, far) = tcp_pair();
            let mut ws = WebSocket::from_parts(near, client(Gone));
            let peer = std::thread::spawn(|| Peer { code: 1008, ..Peer::server(far) }.resets(1000));
            let (order, orders) = std::sync::mpsc::channel();
            (0..1000).for_each(|_| order.send("buy".to_string()).unwrap());
            let mut peer = Some(peer);
            let mut heard = 0;
            let ended = run(&mut ws, &orders, &mut Vec::new(), |_| {
                heard += 1;
                // Each later write fails.
                if let Some(peer) = peer.take() {
                    peer.join().unwrap();
                }
            });
            let code = ws.closed().map(|end| end.code);
            assert_eq!((ended.is_ok(), heard, code), (true, 1000, Some(1008)), "{ended:?}");
        });
    }

    /// They come while nobody can order any more, and the last of them with the peer's Close.
    #[test]
    fn hears_the_answers_to_the_last_orders() {
        bounded(|| {
            let (near, far) = tcp_pair();
            let server = std::thread::spawn(move || {
                let mut ws = WebSocket::from_parts(far, super::server(Closes));
                let mut answers = 0;
                while let Ok(Some(_)) = ws.recv() {
                    std::thread::sleep(Duration::from_millis(1));
                    ws.feed("filled").unwrap();
                    answers += 1;
                }
                let _ = ws.flush();
                answers
            });
            let mut ws = WebSocket::from_parts(near, client(Closes));
            let (order, orders) = std::sync::mpsc::channel();
            (0..100).for_each(|_| order.send("buy".to_string()).unwrap());
            drop(order);
            let mut heard = 0;
            run(&mut ws, &orders, &mut Vec::new(), |_| heard += 1).unwrap();
            assert_eq!((heard, server.join().unwrap()), (100, 100));
        });
    }

    #[test]
    fn returns_when_nobody_can_order_any_more() -> Tested {
        use tickwire::blocking::{accept, client};
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let to = listener.local_addr()?;
        let server = std::thread::spawn(move || {
            let mut ws = accept(listener.accept().unwrap().0, &Config::default()).unwrap();
            let mut answers = 0;
            while let Ok(Some(_)) = ws.recv() {
                ws.send("filled").unwrap();
                answers += 1;
            }
            answers
        });
        let request = Request::new("ws://exchange/")?;
        let mut ws = client(TcpStream::connect(to)?, &request, &Config::trading())?;
        let (order, orders) = std::sync::mpsc::channel();
        order.send("buy".to_string())?;
        order.send("sell".to_string())?;
        let mut order = Some(order);
        let mut sent = Vec::new();
        let mut filled = 0;
        run(&mut ws, &orders, &mut sent, |_| {
            filled += 1;
            if filled == 2 {
                order.take();
            }
        })?;
        assert!(sent.len() == 2 && sent.iter().all(|order| ws.sender().is_written(*order)));
        assert_eq!(server.join().unwrap(), 2);
        Ok(())
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
    use super::{Closes, Config, Gone, Peer, Request, Tested, client, each, ends, socket};
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

    #[tokio::test]
    async fn wait_through_an_outage_and_are_not_sent_once_given_up() -> Tested {
        use tickwire::{blocking, tokio::client};
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let to = listener.local_addr()?;
        let server = std::thread::spawn(move || {
            let mut ws =
                blocking::accept(listener.accept().unwrap().0, &Config::default()).unwrap();
            let mut requests = Vec::new();
            while let Ok(Some(message)) = ws.recv() {
                requests.push(message.as_bytes()[8..].to_vec()); // and answers none
            }
            requests
        });
        let request = Request::new("ws://exchange/")?;
        let mut ws = client(TcpStream::connect(to).await?, &request, &Config::default()).await?;
        let (calls, mut inbox) = mpsc::channel(1);
        tokio::time::pause(); // timeouts pass at once
        // The first call waits in the channel, the second for room in it.
        for request in ["one", "two"] {
            assert!(matches!(call(&calls, request.into()).await, Err(NoAnswer::NotSent)));
        }
        let one = async {
            assert!(matches!(call(&calls, "three".into()).await, Err(NoAnswer::Unknown)));
            tokio::time::resume();
            drop(calls);
        };
        let (ended, ()) = tokio::join!(drive(&mut ws, &mut inbox), one);
        ended?;
        assert_eq!(server.join().unwrap(), [b"three"]);
        Ok(())
    }
}

mod digest {
    use super::{Tested, tcp_pair};
    use std::thread::spawn;
    use testkit::frames::read_head;
    use tickwire::{
        Message,
        blocking::{Incoming, WebSocket},
        handshake::server::Accept,
    };
    recipe!("feeds/log-in-by-digest");

    fn request() -> Request {
        Request::new("ws://exchange/").unwrap()
    }

    /// Reads a request, and refuses it.
    fn challenge(io: &mut TcpStream) {
        read_head(io);
        let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\
            WWW-Authenticate: Digest nonce=1\r\nWWW-Authenticate: Basic\r\n\r\nwho?";
        io.write_all(refusal.as_bytes()).unwrap();
    }

    #[test]
    fn works_on_one_connection() -> Tested {
        let (mut near, mut far) = tcp_pair();
        let server = spawn(move || {
            challenge(&mut far);
            let incoming = Incoming::read(far, &Config::server()).unwrap();
            let credentials = incoming.request().header("Authorization").map(str::to_owned);
            let mut ws = incoming.accept(Accept::default()).unwrap();
            ws.send("hello").unwrap();
            credentials
        });
        let answer = |refusal: &Refusal| {
            let headers = refusal.headers();
            let challenges = headers.filter(|(name, _)| *name == "WWW-Authenticate");
            let challenges: Vec<_> = challenges.map(|(_, value)| value).collect();
            assert_eq!(challenges, [&b"Digest nonce=1"[..], b"Basic"]);
            assert_eq!(refusal.body, b"who?");
            "Digest response=2".to_owned()
        };
        let Ok(open) = log_in(&mut near, request, answer)? else { panic!("refused") };
        let mut ws = WebSocket::from_parts(near, open);
        assert_eq!(ws.recv()?, Some(Message::Text("hello")));
        assert_eq!(server.join().unwrap().as_deref(), Some("Digest response=2"));
        Ok(())
    }

    /// Also where the second answer never comes.
    #[test]
    fn returns_a_second_refusal_and_an_error_if_the_server_is_gone() {
        for refusals in [1, 2] {
            let (mut near, mut far) = tcp_pair();
            let server = spawn(move || (0..refusals).for_each(|_| challenge(&mut far)));
            let answered = log_in(&mut near, request, |_| "Digest response=2".to_owned());
            assert_eq!(matches!(answered, Ok(Err(Refusal { status: 401, .. }))), refusals == 2);
            assert_eq!(answered.is_err(), refusals == 1);
            server.join().unwrap();
        }
    }
}

mod reconnecting {
    use super::{Closes, Deaf, Gone, Peer, bounded};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };
    recipe!("feeds/reconnect");

    #[test]
    fn dials_again_until_a_code_is_final() {
        bounded(|| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("ws://{}/", listener.local_addr().unwrap());
            let dials = Arc::new(AtomicUsize::new(0));
            let counted = dials.clone();
            // On a busy machine a dial may time out before its peer has done anything.
            std::thread::spawn(move || {
                let mut wrongs = [(Gone, 0), (Deaf, 0), (Closes, 1001)].into_iter();
                for io in listener.incoming() {
                    counted.fetch_add(1, Relaxed);
                    let ws = tickwire::blocking::accept(io.unwrap(), &Config::server());
                    let Ok(io) = ws.and_then(|ws| Ok(ws.get_ref().try_clone()?)) else { continue };
                    let (wrong, code) = wrongs.next().unwrap_or((Closes, 3000));
                    let peer = Peer { code, ..Peer::server(io) }.goes(wrong, 1);
                    if wrong != Deaf {
                        let _ = peer.join();
                    }
                }
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let mut open = None;
            let request = Request::new(&url).unwrap();
            let ended = runtime.unwrap().block_on(follow(&request, &mut open));
            assert_eq!(ended.unwrap(), 3000);
            assert!(dials.load(Relaxed) >= 4);
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
    use super::{ALL, Gone, Peer, Tested, bounded, ends, server, tcp_pair};
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

    #[test]
    fn miss_no_input_that_came_before_a_reset() {
        bounded(|| {
            let (near, far) = tcp_pair();
            near.set_nonblocking(true).unwrap();
            let ws = WebSocket::from_parts(near, server(Gone));
            let mut player = Player { ws, snapshots: Outbox::new(Overflow::Conflate) };
            let peer = std::thread::spawn(|| Peer { code: 1008, ..Peer::client(far) }.resets(1000));
            let epoch = std::time::Instant::now();
            let snapshot = Prepared::new("snapshot");
            let mut tick = || tick(&mut player, Time::new(epoch.elapsed()), &snapshot);
            assert!(tick().unwrap()); // the peer goes once it has this snapshot
            peer.join().unwrap();
            while tick().unwrap() {}
            assert_eq!(player.ws.connection().receiver().counters().messages, 1000);
            assert_eq!(player.ws.closed().map(|end| end.code), Some(1008));
        });
    }

    #[test]
    fn admit_a_player_and_serve_it() -> Tested {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let url = format!("ws://{}", listener.local_addr()?);
        let admitted = std::thread::spawn(move || admit(listener.accept()?.0));
        let client = std::thread::spawn(move || {
            let mut ws = tickwire::blocking::connect(&url, &Config::default())?;
            ws.send("left")?;
            let seen = ws.recv()?.and_then(|message| message.as_text().map(String::from));
            ws.close(None)?;
            Ok::<_, Error>(seen)
        });
        let mut player = admitted.join().unwrap()?;
        while tick(&mut player, Time::ZERO, &Prepared::new("snapshot"))? {
            std::thread::yield_now();
        }
        assert_eq!(client.join().unwrap()?.as_deref(), Some("snapshot"));
        Ok(())
    }
}

mod passing_over {
    use super::{Peer, Request, Tested, each, ends, server, socket};
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

    #[tokio::test]
    async fn passes_over_what_is_too_large() -> Tested {
        let (ours, theirs) = tokio::io::duplex(100);
        let peer = tokio::spawn(async move {
            let mut ws = tickwire::tokio::accept(theirs, &Config::server()).await?;
            for len in [10, 100_000, 11, 9] {
                ws.send(vec![b'x'; len]).await?;
            }
            ws.close(tickwire::CloseCode::NORMAL).await
        });
        let request = Request::new("ws://localhost/")?;
        let mut ws = tickwire::tokio::client(ours, &request, &config()).await?;
        let mut small = Small::default();
        let mut lengths = Vec::new();
        while let Some((DataKind::Binary, bytes)) = small.recv(&mut ws, 10).await? {
            lengths.push(bytes.len());
        }
        assert_eq!(lengths, [10, 9]);
        peer.await??;
        Ok(())
    }
}

mod relaying {
    use super::{Closes, Peer, bounded, each, ends, socket, tcp_pair};
    use std::io::Write;
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

    /// Nothing can be sent to the server any more before anything of it is received.
    #[test]
    fn has_what_a_server_said_before_its_reset() {
        bounded(|| {
            let (near, far) = tcp_pair();
            let (to_server, far_server) = tcp_pair();
            near.set_nonblocking(true).unwrap();
            to_server.set_nonblocking(true).unwrap();
            (&to_server).write_all(b"x").unwrap(); // so `to_server` knows nothing of it
            Peer { code: 1008, ..Peer::server(far_server) }.resets(1000);
            let asking = std::thread::spawn(move || {
                let mut ws = tickwire::blocking::WebSocket::from_parts(far, super::client(Closes));
                ws.send("order").unwrap();
                let mut heard = 0;
                while let Ok(Some(_)) = ws.recv() {
                    heard += 1;
                }
                (heard, ws.closed().map(|end| end.code))
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let server = Connection::server(&config(), Negotiated::default());
                let entropy = tickwire::SystemEntropy::new().unwrap();
                let client = Connection::client(&config(), Negotiated::default(), entropy);
                let halves =
                    |io, conn| socket(io, conn).into_split_with(tokio::net::TcpStream::into_split);
                let (mut from_client, mut to_client) = halves(near, server);
                let (mut from_server, mut to_server) = halves(to_server, client);
                from_client.get_ref().readable().await.unwrap();
                let there = relay(&mut from_client, &mut to_server);
                let back = relay(&mut from_server, &mut to_client);
                tokio::try_join!(there, back).unwrap();
            });
            assert_eq!(asking.join().unwrap(), (1000, Some(1008)));
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

/// A router of axum, in a runtime of its own.
fn routed(app: axum::Router) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await
        })
    });
    address
}

mod on_axum {
    use super::{ALL, Peer, bounded, config, ends, routed};
    use std::{net::TcpStream, sync::mpsc};
    recipe!("axum/tickwire-axum");

    #[test]
    fn ends_with_its_peer() {
        for wrong in ALL {
            bounded(move || {
                let (told, ended) = mpsc::channel();
                let serve = move |upgrade: WebSocketUpgrade| async move {
                    let upgrade = upgrade.config(&config(wrong));
                    upgrade.on_upgrade(move |ws| async move { told.send(echo(ws).await).unwrap() })
                };
                let to = routed(axum::Router::new().route("/", axum::routing::any(serve)));
                let _peer = Peer::client(TcpStream::connect(to).unwrap()).opens().goes(wrong, 0);
                ends(wrong, ended.recv().unwrap());
            });
        }
    }
}

mod axum_shutdown {
    use super::{ALL, Deaf, Peer, bounded, routed};
    use std::net::TcpStream;
    recipe!("axum/shutdown");

    /// A deaf peer is left at the signal, within `close_timeout`.
    #[test]
    fn leaves_no_socket() {
        for wrong in ALL {
            bounded(move || {
                let (sockets, stop) = watch::channel(false);
                let to = routed(Router::new().route("/", any(echo)).with_state(stop));
                let peer = Peer { floods: false, ..Peer::client(TcpStream::connect(to).unwrap()) };
                let _peer = peer.opens().goes(wrong, 0);
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    if wrong == Deaf {
                        sockets.send_replace(true);
                    }
                    while sockets.receiver_count() > 1 {
                        tokio::task::yield_now().await;
                    }
                });
            });
        }
    }
}

mod axum_login {
    use super::routed;
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };
    recipe!("axum/login-by-cookie");

    #[test]
    fn takes_a_cookie_from_its_own_pages_alone() {
        let pages = Origins::new(["https://a.example"]).unwrap().required();
        let site = Site { pages, users: [(b"7".to_vec(), "Ada".to_owned())].into() };
        let app = axum::Router::new().route("/", axum::routing::any(feed));
        let to = routed(app.with_state(Arc::new(site)));
        for (cookie, origin, status) in [
            ("7", "Origin: https://a.example\r\n", "101"),
            ("8", "Origin: https://a.example\r\n", "403"),
            ("7", "Origin: https://evil.example\r\n", "403"),
            ("7", "", "403"),
        ] {
            let mut client = TcpStream::connect(to).unwrap();
            let request = format!(
                "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origin}\
                 Cookie: x=y; __Host-session={cookie}\r\n\r\n"
            );
            client.write_all(request.as_bytes()).unwrap();
            let mut answer = [0; 12];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, *format!("HTTP/1.1 {status}").as_bytes(), "{cookie} {origin}");
        }
    }
}
