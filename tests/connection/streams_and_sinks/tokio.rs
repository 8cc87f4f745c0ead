//! `Stream` and `Sink` of the tokio adapter: items, ends, errors once, backpressure, closing.
use crate::support::tokio::*;
use futures_util::{Sink, SinkExt, StreamExt, TryStreamExt, future, stream::FusedStream};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};
use tickwire::{
    Config, DataKind, Error, Events, OwnedMessage, ReadyState, RecvError, tokio::WebSocket,
};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::{sleep, timeout};

fn texts(count: usize) -> Vec<OwnedMessage> {
    (0..count).map(|i| OwnedMessage::from(format!("message {i}"))).collect()
}

#[test]
fn an_echo_is_one_forward_and_ends_with_the_peers_close() {
    let (mut ours, theirs) = pair(1 << 10, &Config::default());
    run(async {
        let echo = tokio::spawn(async move {
            let (sink, stream) = theirs.split();
            stream.forward(sink).await
        });
        let sent = texts(500);
        let (mut sink, stream) = StreamExt::split(&mut ours);
        let feeding = async {
            for message in &sent {
                sink.feed(message.clone()).await.unwrap();
            }
            SinkExt::flush(&mut sink).await.unwrap();
        };
        let reading = stream.take(sent.len()).try_collect::<Vec<_>>();
        let ((), back) = tokio::join!(feeding, reading);
        assert_eq!(back.unwrap(), sent);
        drop(sink);
        SinkExt::close(&mut ours).await.unwrap();
        assert!(
            ours.next().await.is_none()
                && ours.is_terminated()
                && ours.closed().is_some_and(|end| end.clean)
        );
        echo.await.unwrap().unwrap();
    });
}

#[test]
fn an_error_comes_once_and_behind_what_was_received() {
    run(async {
        for split in [false, true] {
            let (io, mut raw) = tokio::io::duplex(4 << 10);
            let ws = server(io, &Config::default());
            raw.write_all(&masked(BINARY, b"before")).await.unwrap();
            raw.write_all(&unmasked(BINARY, b"not masked")).await.unwrap();
            drop(raw);
            let items: Vec<Result<OwnedMessage, Error>> =
                if split { ws.into_split().0.collect().await } else { ws.collect().await };
            let [Ok(first), Err(Error::Recv(RecvError::Protocol(_)))] = &items[..] else {
                panic!("{items:?}");
            };
            assert_eq!(
                (first.as_message().kind(), first.as_bytes()),
                (DataKind::Binary, &b"before"[..])
            );
        }
    });
}

#[test]
fn events_are_over_behind_the_close_and_not_before() {
    run(async {
        let io = Scripted::new(&masked(CLOSE, b""));
        io.with(|s| s.at_end = AtEnd::Eof);
        let mut events = Events(server(io, &Config::default()));
        assert!(events.next().await.is_some() && !events.is_terminated());
        assert!(events.next().await.is_none() && events.is_terminated());
    });
}

#[test]
fn a_sink_is_ready_again_when_the_peer_has_read() {
    run(async {
        for split in [false, true] {
            let config = Config { high_water: 1 << 10, ..Config::default() };
            let (ours, mut theirs) = pair(1 << 10, &config);
            let message = OwnedMessage::from(vec![7; 600]);
            let count = 50;
            let sending = async {
                if split {
                    let (reader, mut writer) = ours.into_split();
                    for _ in 0..count {
                        SinkExt::feed(&mut writer, message.clone()).await.unwrap();
                        assert!(writer.buffered_amount() < 3 << 10);
                    }
                    SinkExt::close(&mut writer).await.unwrap();
                    assert!(reader.map(|item| item.unwrap()).collect::<Vec<_>>().await.is_empty());
                } else {
                    let mut ours = ours;
                    for _ in 0..count {
                        SinkExt::feed(&mut ours, message.clone()).await.unwrap();
                        assert!(ours.sender().buffered_amount() < 3 << 10);
                    }
                    SinkExt::close(&mut ours).await.unwrap();
                    assert_eq!(ours.connection().ready_state(), ReadyState::Closing);
                    assert!(ours.next().await.is_none());
                }
            };
            let receiving = async {
                let mut received = 0;
                while let Some(item) = theirs.next().await {
                    assert_eq!(item.unwrap(), message);
                    received += 1;
                }
                received
            };
            assert_eq!(tokio::join!(sending, receiving).1, count);
        }
    });
}

#[test]
fn a_closed_sink_refuses_and_closes_once() {
    run(async {
        let io = Scripted::new(b"");
        let (reader, mut writer) =
            server(io.clone(), &Config::default()).into_split_with(|io| (io.clone(), io));
        SinkExt::close(&mut writer).await.unwrap();
        SinkExt::close(&mut writer).await.unwrap();
        assert!(SinkExt::feed(&mut writer, OwnedMessage::from(b"late")).await.is_err());
        let frames = io.frames();
        assert_eq!((frames.len(), frames[0].b0, &*frames[0].payload), (1, CLOSE, &[3, 232][..]));
        drop(reader);
    });
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn flush_waits(ws: &mut WebSocket<DuplexStream>, task: &Waker) -> bool {
    let mut cx = Context::from_waker(task);
    Sink::<OwnedMessage>::poll_flush(Pin::new(ws), &mut cx).is_pending()
}

fn next_waits(ws: &mut WebSocket<DuplexStream>, task: &Waker) -> bool {
    ws.poll_next_unpin(&mut Context::from_waker(task)).is_pending()
}

#[test]
fn a_task_that_waited_alone_is_woken_when_a_later_one_writes_its_bytes() {
    run(async {
        let count: Arc<Count> = Arc::default();
        let (writer, reader) = (Waker::from(count.clone()), Waker::from(Arc::<Count>::default()));
        let (mut ours, mut theirs) = pair(1 << 10, &Config::default());
        assert!(!flush_waits(&mut ours, &writer));
        let _ = ours.feed(&[7; 1500]).unwrap();
        assert!(flush_waits(&mut ours, &writer));
        assert!(next_waits(&mut theirs, Waker::noop()));
        let by_the_stream = count.0.load(SeqCst);
        assert!(next_waits(&mut ours, &reader), "it has written the rest");
        assert_eq!(count.0.load(SeqCst), by_the_stream + 1);
    });
}

/// The reader waits first, without a deadline, and the writer of the same task gives it one.
#[tokio::test(start_paused = true)]
async fn one_task_that_polls_both_sides_is_woken_by_either() {
    let config = Config { close_timeout: Duration::from_secs(1), ..Config::default() };
    let (ours, _silent) = pair(1 << 14, &config);
    let (mut sink, mut stream) = ours.split();
    let writing = async {
        sink.send(OwnedMessage::from(&[1][..])).await.unwrap();
        sleep(Duration::from_millis(10)).await;
        sink.close().await.unwrap();
    };
    let both = timeout(Duration::from_secs(3600), future::join(stream.next(), writing)).await;
    let (end, ()) = both.expect("the reader learns of the Close");
    assert!(matches!(end, Some(Err(Error::Recv(RecvError::CloseTimeout)))), "{end:?}");
}

#[test]
fn a_task_that_takes_over_a_side_is_woken_and_so_is_the_other_side() {
    run(async {
        let counts: [Arc<Count>; 3] = Default::default();
        let [before, writer, reader] = counts.each_ref().map(|count| Waker::from(count.clone()));
        let (mut ours, mut theirs) = pair(1 << 10, &Config::default());
        let _ = ours.feed(&[7; 100_000]).unwrap();
        assert!(flush_waits(&mut ours, &before));
        assert!(next_waits(&mut ours, &reader));
        assert!(flush_waits(&mut ours, &writer));
        let woken = || counts.each_ref().map(|count| count.0.load(SeqCst));
        let [old, ..] = woken();
        assert!(next_waits(&mut theirs, Waker::noop()));
        let [same, writer, reader] = woken();
        assert_eq!((same, writer, reader), (old, 1, 1));
    });
}
