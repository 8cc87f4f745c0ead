//! The game as its clients see it: the program itself, over real sockets, read by the offsets that
//! `wire.rs` documents.

#[path = "../../tests/examples/support_program.rs"]
mod program;

use program::{PATIENCE, Program};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use tickwire::{CloseCode, Config, Error, handshake::client::Request, tokio::WebSocket};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// A server, until dropped.
struct Server {
    process: Program,
    address: String,
    opened: AtomicU8,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let args = [&["--listen", "127.0.0.1:0"], options].concat();
        let process = Program::start_at(env!("CARGO_BIN_EXE_game").as_ref(), &args);
        let line = process.line();
        let address = line.strip_prefix("listening on http://").unwrap().to_owned();
        Self { process, address, opened: AtomicU8::new(0) }
    }

    /// Eight from each address of the loopback, where they are all this machine.
    async fn open(&self, origin: Option<&str>) -> Result<WebSocket<TcpStream>, Error> {
        let n = self.opened.fetch_add(1, Relaxed) / 8;
        self.open_from([127, 0, 0, if cfg!(target_os = "linux") { 1 + n } else { 1 }], origin).await
    }

    async fn open_from(
        &self,
        source: [u8; 4],
        origin: Option<&str>,
    ) -> Result<WebSocket<TcpStream>, Error> {
        let request = Request::new(&format!("ws://{}/", self.address)).unwrap();
        let mut request = request.subprotocols(&["game.v1"]).unwrap();
        if let Some(origin) = origin {
            request = request.header("Origin", origin).unwrap();
        }
        // A small buffer, so that who does not read is seen to be slow soon.
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4 << 10)?;
        socket.bind((source, 0).into())?;
        let stream = socket.connect(self.address.parse().unwrap()).await?;
        tickwire::tokio::client(stream, &request, &Config::default()).await
    }

    async fn join(&self, name: &str) -> Player {
        let mut ws = self.open(None).await.unwrap();
        assert_eq!(ws.connection().negotiated().subprotocol.as_deref(), Some("game.v1"));
        ws.send([b"\x01", name.as_bytes()].concat().as_slice()).await.unwrap();
        let mut player = Player { ws, id: 0, sequence: 0, seen: Seen::default() };
        assert_eq!(player.next().await, 1, "first of all a welcome");
        player
    }
}

/// The newest of each kind.
#[derive(Default)]
struct Seen {
    tick: u32,
    /// Identifier, x, y.
    players: Vec<(u16, f32, f32)>,
    /// Of our own: the newest input done, x.
    own: (u32, f32),
    orbs: usize,
    /// Identifier, name.
    roster: Vec<(u16, String)>,
    pong: [u8; 8],
}

struct Player {
    ws: WebSocket<TcpStream>,
    id: u16,
    sequence: u32,
    seen: Seen,
}

impl Player {
    /// Takes the next message, and returns its kind.
    async fn next(&mut self) -> u8 {
        let message = self.ws.recv().await.unwrap().expect("the server goes on").as_bytes();
        let u16_at = |at: usize| u16::from_le_bytes(message[at..at + 2].try_into().unwrap());
        let u32_at = |at: usize| u32::from_le_bytes(message[at..at + 4].try_into().unwrap());
        let seen = &mut self.seen;
        match message[0] {
            1 => self.id = u16_at(2),
            2 => {
                seen.tick = u32_at(4);
                let player = |i| (u16_at(i), u16_at(i + 2).into(), u16_at(i + 4).into());
                let players = (8..message.len()).step_by(6).map(player);
                seen.players =
                    players.map(|(id, x, y): (_, f32, f32)| (id, x / 16.0, y / 16.0)).collect();
                assert_eq!(seen.players.len(), u16_at(2).into());
            }
            3 => seen.own = (u32_at(4), f32::from_bits(u32_at(8))),
            4 => {
                seen.orbs = u16_at(2).into();
                assert_eq!(message.len(), 4 + 4 * seen.orbs);
            }
            5 => {
                seen.roster.clear();
                let mut at = 4;
                while at < message.len() {
                    let end = at + 6 + usize::from(message[at + 5]);
                    let name = String::from_utf8(message[at + 6..end].to_vec()).unwrap();
                    seen.roster.push((u16_at(at), name));
                    at = end;
                }
                assert_eq!(seen.roster.len(), u16_at(2).into());
            }
            6 => seen.pong = message[8..].try_into().unwrap(),
            kind => panic!("a message of kind {kind}"),
        }
        message[0]
    }

    async fn until(&mut self, done: impl Fn(&Seen) -> bool) {
        while !done(&self.seen) {
            self.next().await;
        }
    }

    async fn steer(&mut self, right: i8, down: i8) {
        self.sequence += 1;
        let mut input = vec![2, right as u8, down as u8, 0];
        input.extend(self.sequence.to_le_bytes());
        self.ws.send(&input[..]).await.unwrap();
    }

    fn knows(&self) -> Vec<&str> {
        self.seen.roster.iter().map(|(_, name)| &**name).collect()
    }
}

impl Seen {
    fn place(&self, id: u16) -> Option<(f32, f32)> {
        self.players.iter().find(|player| player.0 == id).map(|&(_, x, y)| (x, y))
    }
}

async fn bounded<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test]
async fn two_players_see_each_other_move() {
    bounded(async {
        let server = Server::start(&[]);
        let (mut ada, mut bob) = (server.join("Ada").await, server.join("Bob").await);
        for player in [&mut ada, &mut bob] {
            player
                .until(|seen| seen.roster.len() == 2 && seen.players.len() == 2 && seen.orbs > 0)
                .await;
            assert_eq!(player.knows(), ["Ada", "Bob"]);
        }
        let (id, other) = (ada.id, bob.id);
        assert_ne!(id, other);

        // Towards the middle, so that no edge is in the way; steps are as many as inputs.
        let from = bob.seen.place(id).unwrap();
        let (right, down) =
            (if from.0 < 1200.0 { 90 } else { -90 }, if from.1 < 800.0 { 90 } else { -90 });
        for _ in 0..60 {
            ada.steer(right, down).await;
            let sent = ada.sequence;
            while sent > ada.seen.own.0 + 4 {
                ada.next().await;
            }
        }
        ada.until(|seen| seen.own.0 == 60).await;
        let tick = ada.seen.tick + 30; // by when whoever was bumped into is out of the way
        ada.until(|seen| seen.tick > tick).await;
        let done = ada.seen.own.1;
        bob.until(|seen| seen.place(id).is_some_and(|(x, _)| (x - done).abs() < 0.1)).await;
        let to = bob.seen.place(id).unwrap();
        assert!((to.0 - from.0).hypot(to.1 - from.1) > 5.0, "{from:?} {to:?}");

        // Bob leaves.
        bob.ws.close(CloseCode::NORMAL).await.unwrap();
        ada.until(|seen| seen.roster.len() == 1 && seen.players.len() == 1).await;
        assert_eq!(ada.knows(), ["Ada"]);
    })
    .await;
}

#[tokio::test]
async fn pings_come_back_and_ticks_go_on() {
    bounded(async {
        let server = Server::start(&[]);
        let mut ada = server.join("Ada").await;
        ada.ws.send(b"\x03\0\0\0\0\0\0\x00mine....").await.unwrap();
        ada.until(|seen| seen.pong == *b"mine....").await;
        ada.until(|seen| seen.tick > 0).await;
        let tick = ada.seen.tick;
        ada.until(|seen| seen.tick > tick + 60).await;
    })
    .await;
}

#[cfg(target_os = "linux")] // one address may not fill the world
#[tokio::test]
async fn who_is_slow_gets_the_newest_and_who_is_gone_is_shown_out() {
    bounded(async {
        let server = Server::start(&[]);
        let mut crowd = tokio::task::JoinSet::new();
        for n in 0..29 {
            let mut player = server.join(&format!("{n}")).await;
            crowd.spawn(async move { player.until(|_| false).await });
        }
        let (mut slow, mut quick) = (server.join("slow").await, server.join("quick").await);
        let mut gone = server.join("gone").await;
        quick.until(|seen| seen.players.len() == 32).await;
        let began = quick.seen.tick;
        quick.until(|seen| seen.tick >= began + 200).await;
        // The slow one finds what the buffers held, then the newest: what lies between it is spared.
        let (mut jump, mut snapshots) = (0, 0);
        while slow.seen.tick < quick.seen.tick {
            let before = slow.seen.tick;
            if slow.next().await == 2 {
                jump = jump.max(slow.seen.tick.saturating_sub(before.max(began)));
                snapshots += 1;
            }
        }
        assert!(jump > 10 && snapshots < 190, "a jump of {jump}, in {snapshots} snapshots");
        // And it goes on playing.
        slow.steer(1, 0).await;
        slow.until(|seen| seen.own.0 == 1).await;
        drop(slow);
        // One that never takes anything has to make room.
        quick.until(|seen| !seen.roster.iter().any(|(_, name)| name == "gone")).await;
        while let Ok(Some(_)) = gone.ws.recv().await {}
        crowd.abort_all();
    })
    .await;
}

#[tokio::test]
async fn who_says_what_makes_no_sense_is_shown_out() {
    bounded(async {
        let server = Server::start(&[]);
        for words in [&b"\x02\x00\x00\x00\x01\x00\x00\x00"[..], b"\x09", b"\x01\xff"] {
            let mut ws = server.open(None).await.unwrap();
            ws.send(words).await.unwrap();
            assert!(ws.recv().await.unwrap().is_none());
            assert_eq!(ws.closed().unwrap().code, CloseCode::POLICY_VIOLATION.get());
        }
        let mut ada = server.join("Ada").await;
        ada.ws.send(b"\x01Eve").await.unwrap(); // once is enough
        while ada.ws.recv().await.unwrap().is_some() {}
        assert_eq!(ada.ws.closed().unwrap().code, CloseCode::POLICY_VIOLATION.get());
    })
    .await;
}

#[cfg(target_os = "linux")] // one address may not fill it
#[tokio::test]
async fn a_full_world_says_try_again_later() {
    bounded(async {
        let server = Server::start(&[]);
        let mut players = Vec::new();
        for n in 0..32 {
            players.push(server.join(&format!("{n}")).await);
        }
        let mut ws = server.open(None).await.unwrap();
        ws.send(b"\x01late").await.unwrap();
        assert!(ws.recv().await.unwrap().is_none());
        assert_eq!(ws.closed().unwrap().code, CloseCode::TRY_AGAIN_LATER.get());
        drop(players.pop());
        players[0].until(|seen| seen.roster.len() == 31).await;
        assert_ne!(server.join("late").await.id, 0);
    })
    .await;
}

#[tokio::test]
async fn pages_from_elsewhere_may_not_play() {
    bounded(async {
        let status = |opened| match opened {
            Err(Error::Refused(refusal)) => refusal.status,
            other => panic!("{other:?}"),
        };
        let server = Server::start(&[]);
        let own = format!("http://{}", server.address);
        assert!(server.open(Some(&own)).await.is_ok());
        for origin in ["https://example.com", "null", "http://127.0.0.1"] {
            assert_eq!(status(server.open(Some(origin)).await), 403, "{origin}");
        }
        let named = Server::start(&["--origin", "https://example.com"]);
        assert!(named.open(Some("https://example.com")).await.is_ok());
        let other = format!("http://{}", named.address);
        assert_eq!(status(named.open(Some(&other)).await), 403);
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_says_nothing_keeps_nobody_else_out() {
    bounded(async {
        let server = Server::start(&[]);
        let mut flood = Vec::new();
        for _ in 0..140 {
            let mut stream = TcpStream::connect(&server.address).await.unwrap();
            let _ = stream.write_all(b"G").await; // a socket without a place may be gone already
            flood.push(stream);
        }
        let mut other = server.open_from([127, 0, 0, 2], None).await.unwrap();
        other.send(b"\x01Ada").await.unwrap();
        assert_eq!(other.recv().await.unwrap().unwrap().as_bytes()[0], 1, "a welcome");
        drop(flood);
    })
    .await;
}

#[tokio::test]
async fn the_page_is_there() {
    bounded(async {
        let server = Server::start(&[]);
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("Content-Security-Policy: default-src 'none'; script-src 'nonce-"));
        assert!(answer.contains("<title>Orbs") && !answer.contains("{{"));
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_says_goodbye() {
    bounded(async {
        let server = Server::start(&[]);
        let mut ada = server.join("Ada").await;
        server.process.signal("-INT");
        while ada.ws.recv().await.unwrap().is_some() {}
        assert_eq!(ada.ws.closed().unwrap().code, CloseCode::GOING_AWAY.get());
        assert_eq!(server.process.finish().0, 0);
    })
    .await;
}
