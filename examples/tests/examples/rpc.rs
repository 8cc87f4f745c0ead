//! The example `rpc`: calls of many tasks over one connection, and every way in which one fails.
#![cfg(feature = "tokio")]

#[path = "../../rpc/client.rs"]
mod client;
#[path = "../../rpc/server.rs"]
mod server;
#[path = "../../rpc/wire.rs"]
mod wire;

use self::client::{CallError, Client};
use crate::bounded::bounded;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Error, Event, RecvError,
    handshake::{HandshakeError, client::Request},
    tokio::{Incoming, WebSocket, accept},
};
use tickwire_parts::Backoff;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet, yield_now},
};

/// How many calls may be in flight.
const PLACES: usize = 4;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// Short: a test that waits for it waits in earnest.
const SHORT: Duration = Duration::from_millis(20);

type Calling = JoinHandle<Result<Vec<u8>, CallError>>;
type Driving = JoinHandle<Result<u16, Error>>;

fn start_at(listener: &TcpListener) -> (Client, Driving) {
    let request = Request::new(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
    let (client, driver) = Client::new(PLACES);
    let mut backoff = Backoff::seeded(1);
    backoff.max_delay = Duration::from_millis(1);
    let config = Config::default();
    (client, tokio::spawn(async move { driver.run(&request, &config, backoff).await }))
}

/// A client, and where its server has to be.
async fn start() -> (Client, Driving, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, driving) = start_at(&listener);
    (client, driving, listener)
}

fn call(client: &Client, request: &[u8], within: Duration) -> Calling {
    let (client, request) = (client.clone(), request.to_vec());
    tokio::spawn(async move { client.call(request, within).await })
}

async fn all_places_free(client: &Client) {
    while client.free() < PLACES {
        yield_now().await;
    }
}

/// The server's end of a connection, which does as it is told.
struct Peer(WebSocket<TcpStream>);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        Self(accept(stream, &Config::default()).await.unwrap())
    }

    /// The number of the next request, which has to be this one.
    async fn hears(&mut self, request: &[u8]) -> u64 {
        let message = self.0.recv().await.unwrap().expect("a request");
        let (number, payload) = wire::read(message.as_bytes()).unwrap();
        assert_eq!(payload, request);
        number
    }

    async fn says(&mut self, number: u64, answer: &[u8]) {
        self.0.send(&wire::message(number, answer)).await.unwrap();
    }

    /// Answers the next request, which has to be this one; and the call returns the answer.
    async fn answers(&mut self, request: &[u8], answer: &[u8], call: Calling) {
        let number = self.hears(request).await;
        self.says(number, answer).await;
        assert_eq!(call.await.unwrap().unwrap(), answer);
    }

    /// Waits until all that the client has fed so far is here, and nothing of it is a request.
    async fn hears_nothing(&mut self) {
        self.0.sender_mut().ping(b"anything?").unwrap();
        self.0.flush().await.unwrap();
        loop {
            match self.0.recv_event().await.unwrap() {
                Some(Event::Pong(_)) => return,
                Some(Event::Message(message)) => panic!("{message:?}"),
                Some(_) => {}
                None => panic!("closed"),
            }
        }
    }
}

#[tokio::test]
async fn answers_that_come_in_another_order_go_to_their_callers() {
    bounded(async {
        let (client, driving, listener) = start().await;
        let calls = [b"a", b"b", b"c"].map(|request| call(&client, request, LONG));
        let mut peer = Peer::accept(&listener).await;
        let numbers = [peer.hears(b"a").await, peer.hears(b"b").await, peer.hears(b"c").await];
        peer.says(numbers[2], b"C").await;
        peer.says(numbers[0], b"A").await;
        peer.says(numbers[1], b"").await;
        for (call, answer) in calls.into_iter().zip([&b"A"[..], b"", b"C"]) {
            assert_eq!(call.await.unwrap().unwrap(), answer);
        }
        assert_eq!(client.free(), PLACES);
        drop(client);
        assert!(peer.0.recv().await.unwrap().is_none()); // no more callers: it closes
        assert_eq!(driving.await.unwrap().unwrap(), 1000);
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_caller_leaves_nothing_behind_and_its_late_answer_is_dropped() {
    bounded(async {
        let (client, _driving, listener) = start().await;
        let (cancelled, kept) = (call(&client, b"a", LONG), call(&client, b"b", LONG));
        let mut peer = Peer::accept(&listener).await;
        let (a, b) = (peer.hears(b"a").await, peer.hears(b"b").await);
        cancelled.abort();
        assert!(cancelled.await.unwrap_err().is_cancelled());
        while client.free() < PLACES - 1 {
            yield_now().await; // its place is free before any answer comes
        }
        peer.says(a, b"late").await;
        peer.says(b, b"B").await;
        assert_eq!(kept.await.unwrap().unwrap(), b"B");
        assert_eq!(client.free(), PLACES);
    })
    .await;
}

#[tokio::test]
async fn a_caller_cancelled_before_there_is_a_connection_is_never_sent() {
    bounded(async {
        let (client, _driving, listener) = start().await;
        let (cancelled, kept) = (call(&client, b"a", LONG), call(&client, b"b", LONG));
        while client.free() > PLACES - 2 {
            yield_now().await;
        }
        cancelled.abort();
        assert!(cancelled.await.unwrap_err().is_cancelled());
        let mut peer = Peer::accept(&listener).await;
        peer.answers(b"b", b"B", kept).await;
        all_places_free(&client).await;
    })
    .await;
}

#[tokio::test]
async fn no_answer_in_time_is_not_known_to_be_without_effect_and_the_late_one_is_dropped() {
    bounded(async {
        let (client, _driving, listener) = start().await;
        let mut peer = Peer::accept(&listener).await;
        let mut within = SHORT;
        // A busy machine may not send it within that time.
        let slow = loop {
            match client.call(b"slow".into(), within).await {
                Err(CallError::NotSent) => within *= 2,
                slow => break slow,
            }
        };
        assert_eq!(slow, Err(CallError::TimedOut));
        let number = peer.hears(b"slow").await;
        all_places_free(&client).await;
        peer.says(number, b"late").await;
        let next = call(&client, b"next", LONG);
        peer.answers(b"next", b"in time", next).await;
    })
    .await;
}

#[tokio::test]
async fn a_call_that_found_no_connection_in_time_was_not_sent_and_is_not_sent_later() {
    bounded(async {
        let (client, _driving, listener) = start().await; // nobody accepts
        assert_eq!(client.call(b"stale".into(), SHORT).await, Err(CallError::NotSent));
        let fresh = call(&client, b"fresh", LONG);
        let mut peer = Peer::accept(&listener).await;
        peer.answers(b"fresh", b"F", fresh).await;
    })
    .await;
}

#[tokio::test]
async fn calls_beyond_the_bound_wait_for_a_place_and_no_longer_than_they_may() {
    bounded(async {
        let (client, _driving, listener) = start().await;
        let mut calls = vec![];
        let mut peer = Peer::accept(&listener).await;
        let mut numbers = vec![];
        for n in 0..PLACES as u8 {
            calls.push(call(&client, &[n], LONG));
            numbers.push(peer.hears(&[n]).await);
        }
        let waits = call(&client, b"waits", LONG);
        assert_eq!(client.call(b"impatient".into(), SHORT).await, Err(CallError::NotSent));
        peer.hears_nothing().await;
        peer.says(numbers[2], b"").await;
        peer.answers(b"waits", b"W", waits).await;
        assert_eq!(calls.remove(2).await.unwrap().unwrap(), b"");
    })
    .await;
}

#[tokio::test]
async fn answers_twice_and_to_nothing_are_dropped() {
    bounded(async {
        let (client, _driving, listener) = start().await;
        let (first, second) = (call(&client, b"a", LONG), call(&client, b"b", LONG));
        let mut peer = Peer::accept(&listener).await;
        let (a, b) = (peer.hears(b"a").await, peer.hears(b"b").await);
        peer.says(u64::MAX, b"to nothing").await;
        peer.says(a, b"A").await;
        peer.says(a, b"again").await;
        peer.says(b, b"B").await;
        assert_eq!(first.await.unwrap().unwrap(), b"A");
        assert_eq!(second.await.unwrap().unwrap(), b"B");
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_answers_to_nothing_keeps_neither_memory_nor_callers() {
    bounded(async {
        let (client, _driving, listener) = start().await;
        let mut peer = Peer::accept(&listener).await;
        for round in 0..20_u64 {
            let asked = call(&client, b"through?", LONG);
            let mut number = None;
            while number.is_none() {
                for junk in 0..1000 {
                    let _ = peer.0.feed(wire::message(1000 * (1 + round) + junk, b"junk"));
                }
                tokio::select! {
                    biased;
                    heard = peer.hears(b"through?") => number = Some(heard),
                    () = yield_now() => {}
                }
            }
            peer.says(number.unwrap(), b"through").await;
            assert_eq!(asked.await.unwrap().unwrap(), b"through");
            assert_eq!(client.free(), PLACES);
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_written_when_the_connection_was_lost_may_have_been_acted_on() {
    bounded(async {
        let (client, _driving, listener) = start().await;
        for n in 0..4 {
            let lost = call(&client, b"lost", LONG);
            let mut peer = Peer::accept(&listener).await;
            let number = peer.hears(b"lost").await;
            match n {
                0 => {} // without a Close
                1 => peer.0.close(CloseCode::SERVICE_RESTART).await.unwrap(),
                2 => peer.0.get_mut().write_all(&[0x82, 100, 0, 0]).await.unwrap(), // in a frame
                _ => {
                    let half = [&[2, 10][..], &number.to_be_bytes(), b"an"].concat();
                    peer.0.get_mut().write_all(&half).await.unwrap();
                }
            }
            drop(peer);
            assert_eq!(lost.await.unwrap(), Err(CallError::Lost));
            assert_eq!(client.free(), PLACES);
        }
        let found = call(&client, b"found", LONG);
        let mut peer = Peer::accept(&listener).await;
        peer.answers(b"found", b"F", found).await;
    })
    .await;
}

#[tokio::test]
async fn what_was_not_written_whole_was_not_acted_on_and_what_waited_goes_to_the_next_connection() {
    bounded(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(8).unwrap();
        let (client, _driving) = start_at(&listener);
        let small = call(&client, b"small", LONG);
        let mut peer = Peer::accept(&listener).await;
        peer.hears(b"small").await;
        let large = call(&client, &vec![0; 64 << 20], LONG); // more than all buffers on the way
        peer.0.get_ref().readable().await.unwrap(); // its beginning is here, and is not read
        let waits = call(&client, b"waits", LONG);
        while client.free() > PLACES - 3 {
            yield_now().await;
        }
        drop(peer);
        assert_eq!(small.await.unwrap(), Err(CallError::Lost));
        assert_eq!(large.await.unwrap(), Err(CallError::NotSent));
        let mut peer = Peer::accept(&listener).await;
        peer.answers(b"waits", b"W", waits).await;
    })
    .await;
}

#[tokio::test]
async fn calls_made_while_the_server_closes_are_not_sent_or_go_to_the_next_connection() {
    bounded(async {
        let (client, _driving, listener) = start().await;
        let mut peer = Peer::accept(&listener).await;
        let stream = peer.0.get_mut();
        stream.write_all(&[0x88, 2, 0x03, 0xf4]).await.unwrap(); // 1012, and TCP stays open
        stream.read_exact(&mut [0; 8]).await.unwrap(); // the answer
        assert_eq!(client.call(b"early".into(), LONG).await, Err(CallError::NotSent));
        let waits = call(&client, b"waits", LONG);
        for _ in 0..100 {
            yield_now().await; // time to make a mistake
        }
        drop(peer);
        let mut peer = Peer::accept(&listener).await;
        peer.answers(b"waits", b"W", waits).await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_without_a_number_fails_the_connection_and_ends_the_client() {
    bounded(async {
        let (client, driving, listener) = start().await;
        let asked = call(&client, b"a", LONG);
        let mut peer = Peer::accept(&listener).await;
        peer.hears(b"a").await;
        peer.0.send("OK").await.unwrap();
        assert!(peer.0.recv().await.unwrap().is_none());
        assert_eq!(peer.0.closed().unwrap().code, 1008);
        drop(peer);
        assert_eq!(asked.await.unwrap(), Err(CallError::Lost));
        let ended = driving.await.unwrap();
        assert!(matches!(ended, Err(Error::Recv(RecvError::Failed { .. }))), "{ended:?}");
        assert_eq!(client.call(b"b".into(), LONG).await, Err(CallError::Ended));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_refuses_for_good_ends_the_client_and_nothing_was_sent() {
    bounded(async {
        let (client, driving, listener) = start().await;
        let asked = call(&client, b"a", LONG);
        while client.free() == PLACES {
            yield_now().await;
        }
        let (stream, _) = listener.accept().await.unwrap();
        let incoming = Incoming::read(stream, &Config::default()).await.unwrap();
        incoming.reject(HandshakeError::NotFound).await.unwrap();
        assert!(matches!(driving.await.unwrap(), Err(Error::Refused(_))));
        assert_eq!(asked.await.unwrap(), Err(CallError::NotSent));
        assert_eq!(client.call(b"b".into(), LONG).await, Err(CallError::Ended));
    })
    .await;
}

#[tokio::test]
async fn a_driver_that_is_dropped_ends_all_calls_and_is_silent_about_none_that_was_begun() {
    bounded(async {
        let (client, driving, listener) = start().await;
        let begun = call(&client, b"a", LONG);
        let mut peer = Peer::accept(&listener).await;
        peer.hears(b"a").await;
        driving.abort();
        assert!(driving.await.unwrap_err().is_cancelled());
        assert_eq!(begun.await.unwrap(), Err(CallError::Lost));
        assert_eq!(client.call(b"b".into(), LONG).await, Err(CallError::Ended));
    })
    .await;
}

/// Over the real server, and a network that cuts every connection but the last.
#[tokio::test]
async fn many_tasks_get_each_their_own_answers_and_nothing_is_done_twice_unasked() {
    bounded(async {
        const TASKS: u32 = 16;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let done: Arc<Mutex<HashMap<Vec<u8>, u32>>> = Arc::default();
        let counts = done.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counts = counts.clone();
                let work = move |request: Vec<u8>| {
                    *counts.lock().unwrap().entry(request.clone()).or_default() += 1;
                    async move {
                        for _ in 0..request[0] % 8 {
                            yield_now().await; // so that answers come in another order
                        }
                        request
                    }
                };
                tokio::spawn(server::serve(stream, work));
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, driving) = start_at(&listener);
        tokio::spawn(crate::cutter::run(listener, at, 50, 3000));
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let client = client.clone();
            tasks.spawn(async move {
                let may_repeat = task % 2 == 0;
                for n in 0..100_u32 {
                    let request = [n.to_le_bytes(), task.to_be_bytes()].concat();
                    loop {
                        match client.call(request.clone(), LONG).await {
                            Ok(answer) => assert_eq!(answer, request),
                            Err(CallError::NotSent) => continue,
                            Err(CallError::Lost) if may_repeat => continue,
                            Err(CallError::Lost) => {}
                            Err(other) => panic!("{other}"),
                        }
                        break;
                    }
                }
            });
        }
        drop(client);
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        assert_eq!(driving.await.unwrap().unwrap(), 1000);
        for (request, times) in &*done.lock().unwrap() {
            let may_repeat = request[7] % 2 == 0;
            assert!(may_repeat || *times == 1, "{request:?} was done {times} times");
        }
    })
    .await;
}
