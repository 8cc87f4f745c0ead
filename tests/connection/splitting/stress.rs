//! The halves of many connections at once, in both adapters: whatever the room in the stream, the
//! limits and the timing, every message arrives once, whole and in order, and both ends end.
use crate::support::placed::placed;
use crate::support::{
    self,
    blocking::{PATIENCE, patient},
    tokio::pair,
    wire::sampled,
};
use std::{sync::Arc, thread, time::Duration};
use testkit::Rng;
use tickwire::{
    Chunk, CloseCode, Config, DataKind, Error, Event, Heartbeat, SendError,
    blocking::{Reader as BlockingReader, Stream, Writer as BlockingWriter},
    tokio::{Reader, Writer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Barrier,
    task::yield_now,
};

/// A message with its number in front.
fn numbered(k: u32, dice: &mut Rng, longest: usize) -> Vec<u8> {
    let mut payload = k.to_be_bytes().to_vec();
    payload.resize(4 + dice.below(longest), k as u8);
    payload
}

fn check(payload: &[u8], k: u32) {
    let (number, rest) = payload.split_first_chunk().unwrap();
    assert_eq!(u32::from_be_bytes(*number), k);
    assert!(rest == vec![k as u8; rest.len()], "message {k}");
}

/// The peer's Close may have been answered, and so the sending half closed, before ours.
fn closed(result: Result<(), Error>) {
    match result {
        Ok(()) | Err(Error::Send(SendError::Closed)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

async fn listen<R, W>(mut reader: Reader<R, W>, count: u32)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (mut next, mut newest) = (0, 0);
    while next < count {
        match reader.recv_event().await.unwrap().expect("not closed yet") {
            Event::Message(message) => {
                check(message.as_bytes(), next);
                next += 1;
            }
            // An answer to one of ours, or to a heartbeat.
            Event::Pong(payload) if payload.len() == 8 => {
                let number = u64::from_be_bytes(payload.try_into().unwrap());
                assert!(number >= newest, "pong {number} after {newest}");
                newest = number;
            }
            Event::Close(_) => panic!("closed early"),
            Event::Ping(_) | Event::Pong(_) => {}
        }
    }
    while reader.recv().await.unwrap().is_some() {}
    assert!(reader.closed().unwrap().clean);
}

/// Sends in all the ways there are, then closes together with the other end: a Close that came
/// sooner would cut the other's sending.
async fn talk<W>(mut writer: Writer<W>, count: u32, seed: u64, longest: usize, end: Arc<Barrier>)
where
    W: AsyncWrite + Unpin,
{
    let mut dice = Rng::new(seed);
    for k in 0..count {
        let message = numbered(k, &mut dice, longest);
        match dice.below(7) {
            0 => {
                writer.ready().await.unwrap();
                let _ = writer.feed(&message).unwrap();
            }
            1 => {
                // Dropped while it waits; whether the message was taken, `fed` tells.
                writer.ready().await.unwrap();
                let before = writer.fed();
                tokio::select! {
                    biased;
                    sent = writer.send(&message) => sent.unwrap(),
                    () = yield_now() => {}
                }
                if writer.fed() == before {
                    writer.send(&message).await.unwrap();
                }
            }
            2 => {
                writer.with_sender(|tx| tx.ping(&u64::from(k).to_be_bytes())).unwrap();
                writer.flush().await.unwrap();
                writer.send(&message).await.unwrap();
            }
            3 => {
                let (a, b) = message.split_at(message.len() / 2);
                let kind = DataKind::Binary;
                for (first, data) in [(true, a), (false, b)] {
                    writer.ready().await.unwrap();
                    let chunk = Chunk { kind, first, data, last: !first };
                    let _ = writer.with_sender(|tx| tx.feed_chunk(chunk)).unwrap();
                    yield_now().await;
                }
            }
            _ => writer.send(&message).await.unwrap(),
        }
    }
    writer.flush().await.unwrap();
    end.wait().await;
    closed(writer.close(CloseCode::NORMAL).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn halves_in_many_threads_lose_nothing_through_pipes_of_any_size() {
    support::tokio::bounded(async {
        for round in 1..=sampled(60, 20) as u64 {
            let mut dice = Rng::new(round);
            let room = [1, 7, 64, 1000, 70_000][(round % 5) as usize];
            let (count, longest) = if room < 64 { (20, 50) } else { (200, 5000) };
            // Pings in between, at every few of the messages; whether any come at all matters not.
            let beat = Duration::from_millis(1 + dice.below(8) as u64);
            let config = Config {
                high_water: 1 + dice.below(100_000),
                heartbeat: Some(Heartbeat::new(beat, PATIENCE)),
                ..patient()
            };
            let (near, far) = pair(room, &config);
            let end = Arc::new(Barrier::new(2));
            let mut tasks = vec![];
            for (i, ws) in [near.into_split(), far.into_split()].into_iter().enumerate() {
                let (reader, writer) = ws;
                let seed = round << 1 | i as u64;
                tasks.push(tokio::spawn(listen(reader, count)));
                tasks.push(tokio::spawn(talk(writer, count, seed, longest, end.clone())));
            }
            for task in tasks {
                task.await.unwrap_or_else(|error| panic!("round {round}: {error}"));
            }
        }
    })
    .await;
}

fn run_blocking<S: Stream + Send + 'static>(
    (mut reader, mut writer): (BlockingReader<S>, BlockingWriter<S>),
    seed: u64,
    end: Arc<std::sync::Barrier>,
) -> [thread::JoinHandle<()>; 2] {
    const COUNT: u32 = 100;
    let listening = thread::spawn(move || {
        for k in 0..COUNT {
            check(reader.recv().unwrap().expect("not closed yet").as_bytes(), k);
        }
        assert!(reader.recv().unwrap().is_none());
        assert!(reader.closed().unwrap().clean);
    });
    let talking = thread::spawn(move || {
        let mut dice = Rng::new(seed);
        for k in 0..COUNT {
            let message = numbered(k, &mut dice, 40_000);
            if dice.once_in(5) {
                writer.with_sender(|tx| tx.ping(b"x")).unwrap();
                writer.flush().unwrap();
            }
            writer.send(&message).unwrap();
        }
        end.wait();
        closed(writer.close(None));
    });
    [listening, talking]
}

#[test]
fn blocking_halves_in_four_threads_lose_nothing() {
    support::blocking::bounded(|| {
        for round in 1..=8u64 {
            let mut dice = Rng::new(round);
            let beat = Duration::from_millis(20 + dice.below(30) as u64);
            let config = Config {
                high_water: 1 + dice.below(300_000),
                heartbeat: Some(Heartbeat::new(beat, PATIENCE)),
                ..patient()
            };
            let (near, far) = support::blocking::tcp_pair();
            let near = support::blocking::client(near, &config).into_split().unwrap();
            let far = support::blocking::server(far, &config).into_split().unwrap();
            let end = Arc::new(std::sync::Barrier::new(2));
            let threads =
                [run_blocking(near, round << 1, end.clone()), run_blocking(far, round << 8, end)];
            for thread in threads.into_iter().flatten() {
                thread.join().unwrap();
            }
        }
    });
}

/// The same over TLS, whose own lock the halves share too, with messages compressed that refer to
/// those before them.
#[cfg(all(feature = "in-place", feature = "deflate"))]
mod compressed_over_tls {
    use super::*;
    use crate::support::tls::Authority;
    use tickwire::{
        Config, blocking, deflate::Deflate, handshake::client::Request, tokio as on_tokio,
        url::Target,
    };

    fn config(dice: &mut Rng) -> Config {
        let mut deflate = Deflate::default();
        deflate.server.takeover = true;
        deflate.client.takeover = true;
        let beat = Duration::from_millis(20 + dice.below(30) as u64);
        Config {
            deflate: Some(deflate),
            high_water: 1 + dice.below(100_000),
            heartbeat: Some(Heartbeat::new(beat, PATIENCE)),
            ..patient()
        }
    }

    fn target() -> (Target, Request) {
        let url = "wss://localhost/";
        (url.parse::<Target>().unwrap(), Request::new(url).unwrap())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn halves_in_many_tasks_lose_nothing() {
        support::tokio::bounded(async {
            let authority = Authority::new();
            let (target, request) = target();
            for round in 1..=6u64 {
                let config = config(&mut Rng::new(round));
                let (near, far) = support::tokio::tcp_pair().await;
                let near =
                    on_tokio::TlsStream::client(near, &target, placed(authority.client())).unwrap();
                let far = on_tokio::TlsStream::server(far, placed(authority.server())).unwrap();
                let (near, far) = tokio::join!(
                    on_tokio::client(near, &request, &config),
                    on_tokio::accept(far, &config)
                );
                let end = Arc::new(Barrier::new(2));
                let mut tasks = vec![];
                for (i, ws) in [near.unwrap(), far.unwrap()].into_iter().enumerate() {
                    assert!(ws.connection().negotiated().deflate.is_some());
                    let ws = ws.into_split();
                    tasks.push(tokio::spawn(listen(ws.0, 100)));
                    tasks.push(tokio::spawn(talk(
                        ws.1,
                        100,
                        round << 9 | i as u64,
                        9000,
                        end.clone(),
                    )));
                }
                for task in tasks {
                    task.await.unwrap_or_else(|error| panic!("round {round}: {error}"));
                }
            }
        })
        .await;
    }

    #[test]
    fn halves_in_four_threads_lose_nothing() {
        support::blocking::bounded(|| {
            let authority = Authority::new();
            let (target, request) = target();
            for round in 1..=4u64 {
                let config = config(&mut Rng::new(round));
                let (near, far) = support::blocking::tcp_pair();
                let near =
                    blocking::TlsStream::client(near, &target, placed(authority.client())).unwrap();
                let far = blocking::TlsStream::server(far, placed(authority.server())).unwrap();
                let accepting = config.clone();
                let far = thread::spawn(move || blocking::accept(far, &accepting).unwrap());
                let near = blocking::client(near, &request, &config).unwrap();
                assert!(near.connection().negotiated().deflate.is_some());
                let near = near.into_split().unwrap();
                let far = far.join().unwrap().into_split().unwrap();
                let end = Arc::new(std::sync::Barrier::new(2));
                let threads = [
                    run_blocking(near, round << 1, end.clone()),
                    run_blocking(far, round << 8, end),
                ];
                for thread in threads.into_iter().flatten() {
                    thread.join().unwrap();
                }
            }
        });
    }
}
