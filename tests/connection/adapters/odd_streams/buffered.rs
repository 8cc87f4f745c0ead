//! Streams with a buffer of their own, as a TLS stream or `BufStream` is: a write that they took
//! has not left yet, and it is flush and shutdown that wait for the peer.
use crate::support::tokio::*;
use std::time::Duration;
use tickwire::{Config, Heartbeat, RecvError};
use tokio::{
    io::{BufStream, split},
    time::{Instant, sleep},
};

fn config() -> Config {
    Config { write_timeout: Duration::from_secs(3), ..Config::default() }
}

/// A stream that takes 8 KiB at once, and the peer behind it, who has room for so much.
fn buffered(input: &[u8], room: usize) -> (BufStream<Scripted>, Scripted) {
    let io = Scripted::new(input);
    io.with(|s| s.room = room);
    (BufStream::new(io.clone()), io)
}

// What such a stream holds back, and a flush that never ends: `everywhere`. Without a deadline on
// the flush each of these waits for ever: nothing is left to be written.

#[test]
fn a_flush_that_goes_on_in_time_is_no_write_timeout() {
    run_paused(async {
        let (io, peer) = buffered(b"", 64);
        let mut ws = server(io, &config());
        let sending = tokio::spawn(async move {
            for _ in 0..3 {
                ws.send(&[7; 500]).await.unwrap();
            }
        });
        for _ in 0..3 {
            sleep(Duration::from_secs(2)).await;
            peer.with(|s| s.room += 504);
        }
        sending.await.unwrap();
        assert_eq!(peer.frames().len(), 3);
    });
}

#[test]
fn a_flush_that_stays_pending_does_not_keep_the_end_waiting() {
    run_paused(async {
        for halves in [false, true] {
            let mut input = masked(BINARY, [1]);
            input.extend(masked(CLOSE, b""));
            let (io, _peer) = buffered(&input, 64);
            let mut ws = server(io, &config());
            let _ = ws.feed(&[7; 500]).unwrap();
            let began = Instant::now();
            let (message, end, flushed) = if halves {
                let (mut reader, mut writer) = ws.into_split_with(split);
                let message = reader.recv_owned().await;
                let end = reader.recv_owned().await;
                assert!(!reader.closed().is_some_and(|end| end.clean), "the answer did not leave");
                (message, end, writer.flush().await)
            } else {
                let message = ws.recv_owned().await;
                let end = ws.recv_owned().await;
                assert!(!ws.closed().is_some_and(|end| end.clean), "the answer did not leave");
                (message, end, ws.flush().await)
            };
            assert_eq!(message.unwrap().unwrap().as_bytes(), &[1][..]);
            assert_eq!(recv_error(end), RecvError::WriteTimeout);
            assert_eq!(recv_error(flushed), RecvError::WriteTimeout);
            assert!(began.elapsed().as_secs() <= 5, "{:?}", began.elapsed());
        }
    });
}

#[test]
fn a_shutdown_that_stays_pending_is_waited_for_a_second() {
    run_paused(async {
        for halves in [false, true] {
            // With a heartbeat too: it must not stand in for the deadline that is missing.
            for beats in [false, true] {
                let mut config = config();
                if beats {
                    let hour = Duration::from_secs(3600);
                    config = Config { heartbeat: Some(Heartbeat::new(hour, hour)), ..config };
                }
                let io = Scripted::new(&masked(CLOSE, close_body(1000, "")));
                io.with(|s| s.never_shut = true); // as TLS whose peer reads no close_notify
                let mut ws = server(io.clone(), &config);
                let began = Instant::now();
                let clean = if halves {
                    let (mut reader, writer) = ws.into_split_with(split);
                    let _ = reader.recv().await;
                    drop(writer);
                    reader.closed().is_some_and(|end| end.clean)
                } else {
                    let _ = ws.recv().await;
                    ws.closed().is_some_and(|end| end.clean)
                };
                assert!(began.elapsed().as_secs() <= 1, "{:?}", began.elapsed());
                assert!(clean, "both Closes passed");
                assert_eq!(frames(&io.with(|s| s.output.clone())).len(), 1);
            }
        }
    });
}
