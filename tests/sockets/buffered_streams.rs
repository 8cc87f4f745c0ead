//! Streams with a buffer of their own, as a TLS stream or `BufStream` is: a write that they took
//! has not left yet, and it is flush and shutdown that wait for the peer.
use crate::support::tokio::*;
use std::time::Duration;
use tickwire::{Config, Error, Heartbeat, RecvError};
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

fn recv_error(error: Error) -> RecvError {
    match error {
        Error::Recv(error) => error,
        other => panic!("{other:?}"),
    }
}

// Without a deadline on the flush each of these waits for ever: nothing is left to be written.

#[tokio::test(start_paused = true)]
async fn a_flush_that_stays_pending_ends_by_the_write_timeout() {
    bounded(async {
        for is_server in [true, false] {
            let (io, _peer) = buffered(b"", 64);
            let mut ws = if is_server { server(io, &config()) } else { client(io, &config()) };
            let began = Instant::now();
            let error = recv_error(ws.send(&[7; 500]).await.unwrap_err());
            assert_eq!((error, began.elapsed().as_secs()), (RecvError::WriteTimeout, 3));
            let error = recv_error(ws.recv().await.map(|_| ()).unwrap_err());
            assert_eq!(error, RecvError::WriteTimeout);

            // In a call that receives.
            let (io, _peer) = buffered(b"", 64);
            let mut ws = if is_server { server(io, &config()) } else { client(io, &config()) };
            let _ = ws.feed(&[7; 500]).unwrap();
            let began = Instant::now();
            let error = recv_error(ws.recv().await.map(|_| ()).unwrap_err());
            assert_eq!((error, began.elapsed().as_secs()), (RecvError::WriteTimeout, 3));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_stays_pending_ends_both_halves_by_the_write_timeout() {
    bounded(async {
        for sends in [true, false] {
            let (io, _peer) = buffered(b"", 64);
            let (mut reader, mut writer) = server(io, &config()).into_split_with(split);
            let began = Instant::now();
            if sends {
                let error = recv_error(writer.send(&[7; 500]).await.unwrap_err());
                assert_eq!((error, began.elapsed().as_secs()), (RecvError::WriteTimeout, 3));
            } else {
                let _ = writer.feed(&[7; 500]).unwrap();
                assert!(once!(writer.flush()).is_pending());
            }
            let error = recv_error(reader.recv().await.map(|_| ()).unwrap_err());
            assert_eq!((error, began.elapsed().as_secs()), (RecvError::WriteTimeout, 3));
            assert!(writer.with_sender(|tx| tx.is_closed()));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_goes_on_in_time_is_no_write_timeout() {
    bounded(async {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_stays_pending_does_not_keep_the_end_waiting() {
    bounded(async {
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
            assert_eq!(recv_error(end.unwrap_err()), RecvError::WriteTimeout);
            assert_eq!(recv_error(flushed.unwrap_err()), RecvError::WriteTimeout);
            assert!(began.elapsed().as_secs() <= 5, "{:?}", began.elapsed());
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_stays_pending_is_waited_for_a_second() {
    bounded(async {
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
    })
    .await;
}

// A client does not shut the stream down: without a flush its Close would never leave, and what was
// sent in front of it would be lost when the caller drops the connection.

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_close_is_flushed_before_the_end_is_told() {
    bounded(async {
        for is_server in [false, true] {
            for halves in [false, true] {
                let input = to(role_of(is_server), CLOSE, close_body(1000, ""));
                let (io, peer) = buffered(&input, 64);
                let mut ws = if is_server { server(io, &config()) } else { client(io, &config()) };
                let _ = ws.feed(&[7; 500]).unwrap();
                let far = peer.clone();
                let hanging_up = tokio::spawn(async move {
                    sleep(Duration::from_secs(1)).await;
                    far.with(|s| s.room = usize::MAX);
                    sleep(Duration::from_secs(1)).await;
                    far.with(|s| s.at_end = AtEnd::Eof);
                });
                let clean = if halves {
                    let (mut reader, writer) = ws.into_split_with(split);
                    assert!(reader.recv().await.unwrap().is_none());
                    drop(writer);
                    reader.closed().is_some_and(|end| end.clean)
                } else {
                    assert!(ws.recv().await.unwrap().is_none());
                    ws.closed().is_some_and(|end| end.clean)
                };
                assert!(clean);
                let frames = frames(&peer.with(|s| s.output.clone()));
                let opcodes: Vec<_> = frames.iter().map(|f| f.b0).collect();
                assert_eq!(opcodes, [BINARY, CLOSE], "server {is_server}, split {halves}");
                hanging_up.await.unwrap();
            }
        }
    })
    .await;
}

mod blocking {
    use crate::support::blocking::*;
    use std::{
        io::{self, Read, Write},
        sync::{Arc, Mutex},
        thread,
        time::{Duration, Instant},
    };
    use tickwire::{
        Config, Error, RecvError,
        blocking::{Interest, Stream},
    };

    /// Takes all, and is not rid of it: it is never flushed. Its handles share one
    /// socket.
    #[derive(Clone, Default)]
    struct Stuck(Arc<Mutex<Socket>>);

    #[derive(Default)]
    struct Socket {
        input: Vec<u8>,
        read_timeout: Option<Duration>,
    }

    impl Stuck {
        fn new(input: &[u8]) -> Self {
            Self(Arc::new(Mutex::new(Socket { input: input.into(), ..Socket::default() })))
        }

        fn give(&self, buf: &mut [u8]) -> usize {
            let input = std::mem::take(&mut self.0.lock().unwrap().input);
            buf[..input.len()].copy_from_slice(&input);
            input.len()
        }
    }

    impl Read for Stuck {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.give(buf) {
                0 => {
                    let timeout = self.0.lock().unwrap().read_timeout;
                    thread::sleep(timeout.unwrap_or(2 * PATIENCE));
                    Err(io::ErrorKind::WouldBlock.into())
                }
                n => Ok(n),
            }
        }
    }

    impl Write for Stuck {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    impl Stream for Stuck {
        fn try_write(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
            self.write_vectored(bufs)
        }
        fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.0.lock().unwrap().read_timeout = timeout;
            Ok(())
        }
        fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.give(buf) {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                n => Ok(n),
            }
        }
        fn wait(&self, _: Interest, timeout: Option<Duration>) -> io::Result<()> {
            thread::sleep(timeout.unwrap_or(2 * PATIENCE));
            Ok(())
        }
        fn shutdown(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn try_clone(&self) -> io::Result<Self> {
            Ok(self.clone())
        }
    }

    fn config() -> Config {
        Config { write_timeout: ms(300), close_timeout: ms(300), ..Config::default() }
    }

    fn timed_out<T>(result: Result<T, Error>) -> bool {
        matches!(result, Err(Error::Recv(RecvError::WriteTimeout)))
    }

    #[test]
    fn a_flush_that_blocks_ends_by_the_write_timeout() {
        bounded(|| {
            let began = Instant::now();
            let mut ws = server(Stuck::new(b""), &config());
            assert!(timed_out(ws.send("x")));
            took(began, ms(300));
            assert!(timed_out(ws.recv().map(|_| ())));

            // In a call that receives, which owes a Pong.
            let began = Instant::now();
            let mut ws = server(Stuck::new(&masked(PING, b"?")), &config());
            assert!(timed_out(ws.recv().map(|_| ())));
            took(began, ms(300));
        });
    }

    #[test]
    fn a_flush_that_blocks_ends_either_half_by_the_write_timeout() {
        bounded(|| {
            let began = Instant::now();
            let (_reader, mut writer) = server(Stuck::new(b""), &config()).into_split().unwrap();
            assert!(timed_out(writer.send("x")));
            took(began, ms(300));

            let began = Instant::now();
            let ws = server(Stuck::new(&masked(PING, b"?")), &config());
            let (mut reader, _writer) = ws.into_split().unwrap();
            assert!(timed_out(reader.recv().map(|_| ())));
            took(began, ms(300));
        });
    }

    #[test]
    fn a_flush_that_blocks_does_not_keep_the_end_waiting() {
        bounded(|| {
            for halves in [false, true] {
                let mut ws = server(Stuck::new(&masked(CLOSE, b"")), &config());
                let (clean, flushed) = if halves {
                    let (mut reader, mut writer) = ws.into_split().unwrap();
                    let _ = reader.recv();
                    (reader.closed().is_some_and(|end| end.clean), writer.flush())
                } else {
                    let _ = ws.recv();
                    (ws.closed().is_some_and(|end| end.clean), ws.flush())
                };
                assert!(!clean, "the answer did not leave");
                assert!(flushed.is_err(), "nor will it later");
            }
        });
    }

    /// Keeps what it takes until it is flushed.
    #[derive(Clone)]
    struct Held(Scripted, Arc<Mutex<Vec<u8>>>);

    impl Read for Held {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }

    impl Write for Held {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.1.lock().unwrap().extend(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.write_all(&std::mem::take(&mut *self.1.lock().unwrap()))
        }
    }

    impl Stream for Held {
        crate::support::tries::tries!();
        crate::support::tries::cannot_wait!();
        fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }
        fn shutdown(&mut self) -> io::Result<()> {
            Ok(()) // and what is not flushed by now is lost
        }
        fn try_clone(&self) -> io::Result<Self> {
            Ok(self.clone())
        }
    }

    #[test]
    fn the_answer_to_a_close_is_flushed_before_the_end_is_told() {
        bounded(|| {
            for is_server in [false, true] {
                for halves in [false, true] {
                    let key = is_server.then_some([1, 2, 3, 4]);
                    let io =
                        Scripted::new([Read1::Bytes(frame(CLOSE, key, &close_body(1000, "")))]);
                    let held = Held(io.clone(), Arc::default());
                    let mut ws = match is_server {
                        true => server(held, &config()),
                        false => client(held, &config()),
                    };
                    let _ = ws.feed(&[7; 100]).unwrap();
                    let clean = if halves {
                        let (mut reader, _writer) = ws.into_split().unwrap();
                        assert_eq!(reader.recv().unwrap(), None);
                        reader.closed().is_some_and(|end| end.clean)
                    } else {
                        assert_eq!(ws.recv().unwrap(), None);
                        ws.closed().is_some_and(|end| end.clean)
                    };
                    assert!(clean);
                    let written = io.script().written.clone();
                    let frames = super::frames(&written);
                    let opcodes: Vec<_> = frames.iter().map(|f| f.b0).collect();
                    let expected = [super::BINARY, super::CLOSE];
                    assert_eq!(opcodes, expected, "server {is_server}, split {halves}");
                }
            }
        });
    }
}
