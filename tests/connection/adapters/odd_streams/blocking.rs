//! Streams that can do less than a socket, or more, or fail as the system does.
use crate::support::blocking::*;
use std::{
    io::{self, IoSlice, Read, Write},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Error, RecvError,
    blocking::{self, Interest, Stream, WebSocket, WithoutTimeouts, accept},
    handshake::client::Request,
};

/// Writes one slice at a time.
struct Flat(Scripted);

impl Read for Flat {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Flat {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_vectored(&[IoSlice::new(buf)])
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn no_header_travels_alone_over_a_stream_that_writes_one_slice_at_a_time() {
    let io = Scripted::new([]);
    let mut ws = server(WithoutTimeouts(Flat(io.clone())), &Config::default());
    let payload = bytes::Bytes::from(vec![7; 20_000]);
    let _ = ws.feed(payload).unwrap();
    ws.flush().unwrap();
    let script = io.script();
    assert_eq!((script.writes, script.written.len()), (1, 20_004));
}

/// The system's `TimedOut` says that a peer is gone; that of a read that waited has no number.
#[cfg(target_os = "linux")]
#[test]
fn a_peer_that_the_system_gave_up_is_no_read_that_timed_out() {
    struct Gone;
    impl Read for Gone {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(110)) // ETIMEDOUT
        }
    }
    impl Write for Gone {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            Ok(from.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = server(WithoutTimeouts(Gone), &Config::default()).recv().unwrap_err();
    assert!(matches!(&error, Error::Io(io) if io.kind() == io::ErrorKind::TimedOut), "{error:?}");
}

#[test]
fn over_a_stream_that_cannot_be_waited_for_the_caller_has_no_timeouts() {
    use io::ErrorKind::{InvalidInput, Unsupported};
    for kind in [Unsupported, InvalidInput] {
        let io = Scripted::new([]);
        io.script().wait_error = Some(kind);
        let mut ws = server(io.clone(), &Config::default());
        let set = [ws.set_read_timeout(Some(ms(100))), ws.set_write_timeout(Some(ms(100)))];
        assert!(set.into_iter().all(|set| set.unwrap_err().kind() == kind));
        let (mut reader, mut writer) = ws.into_split().unwrap();
        let set = [reader.set_read_timeout(Some(ms(1))), writer.set_write_timeout(Some(ms(1)))];
        assert!(set.into_iter().all(|set| set.unwrap_err().kind() == kind));
        assert_eq!(io.script().asked, 4, "{kind}");
    }
}

#[test]
fn a_flood_does_not_put_off_the_deadline_on_writing() {
    bounded(|| {
        let io = Scripted::new([]);
        io.script().endless = masked(BINARY, b"1");
        io.script().room = Some(0);
        let mut ws = server(io, &Config { write_timeout: ms(100), ..Config::default() });
        let _ = ws.feed("stuck").unwrap();
        assert!(matches!(
            ws.flush(),
            Err(Error::WouldBlock | Error::Recv(RecvError::WriteTimeout))
        ));
        let error = loop {
            if let Err(error) = ws.recv() {
                break error;
            }
        };
        assert!(matches!(error, Error::Recv(RecvError::WriteTimeout)), "{error:?}");
    });
}

/// Unlike a peer that sends each few milliseconds, a stream that always has more leaves no gap in
/// which a timeout that begins anew can pass, however busy the machine is.
#[test]
fn a_flood_does_not_put_off_the_callers_read_timeout() {
    type Call = fn(&mut WebSocket<Scripted>) -> Result<(), Error>;
    let calls: [(u8, Call); 3] = [
        (PING, |ws| ws.recv().map(drop)),
        (TEXT, |ws| ws.close(CloseCode::NORMAL)),
        // After our Close no answer can follow, so messages are discarded.
        (TEXT, |ws| {
            ws.sender_mut().close(CloseCode::NORMAL)?;
            ws.recv_to_reply().map(drop)
        }),
    ];
    bounded_each(calls, |(b0, call)| {
        let io = Scripted::new([]);
        io.script().endless = masked(b0, b"still here");
        let mut ws = server(io, &patient());
        ws.set_read_timeout(Some(ms(50))).unwrap();
        assert!(matches!(call(&mut ws), Err(Error::WouldBlock)));
    });
}

#[test]
fn behind_the_handshake_a_read_may_wait_for_ever() {
    bounded(|| {
        let (near, far) = tcp_pair();
        let request = Request::new("ws://localhost/").unwrap();
        let opening =
            thread::spawn(move || blocking::client(far, &request, &Config::default()).unwrap());
        let ws = accept(near, &Config::default()).unwrap();
        assert_eq!(ws.get_ref().read_timeout().unwrap(), None);
        assert_eq!(opening.join().unwrap().get_ref().read_timeout().unwrap(), None);
    });
}

#[test]
fn a_stream_that_says_nothing_of_itself_has_no_timeouts_and_flushes_at_the_end() {
    let io = Scripted::new([]);
    let mut plain = WithoutTimeouts(Flat(io.clone()));
    let second = Some(Duration::from_secs(1));
    for refused in [
        plain.set_read_timeout(second),
        plain.wait(Interest::READ, second),
        plain.try_clone().map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
    plain.set_nodelay(true).unwrap();
    plain.shutdown().unwrap();
    assert_eq!(io.script().flushes, 1);
    assert!(!plain.writes_vectored());
}

#[derive(Default)]
struct Held {
    /// It takes bytes.
    takes: bool,
    says: Vec<u8>,
    holds: Vec<u8>,
    shut: bool,
}

/// Keeps what it takes until a flush; its shutdown does not flush.
#[derive(Clone, Default)]
struct Holding(Arc<Mutex<Held>>);

impl Holding {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }
}

impl Read for Holding {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut held = self.held();
        if held.says.is_empty() && !held.shut {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let says = std::mem::take(&mut held.says);
        to[..says.len()].copy_from_slice(&says);
        Ok(says.len())
    }
}

impl Write for Holding {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let mut held = self.held();
        if !held.takes {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        held.holds.extend(from);
        Ok(from.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.held().holds.clear();
        Ok(())
    }
}

impl Stream for Holding {
    crate::support::tries::tries!();
    /// For a while: it is asked again.
    fn wait(&self, _: Interest, timeout: Option<Duration>) -> io::Result<()> {
        thread::sleep(timeout.unwrap_or(ms(5)).min(ms(5)));
        Ok(())
    }
    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
    fn shutdown(&mut self) -> io::Result<()> {
        let mut held = self.held();
        assert_eq!(held.holds.len(), 0, "bytes that were not flushed");
        held.shut = true;
        Ok(())
    }
}

/// Room is not all that a writer waits for once there is a Close.
#[test]
fn a_stream_is_not_shut_before_it_has_flushed_what_a_writer_wrote() {
    bounded(|| {
        let io = Holding::default();
        let ws = server(io.clone(), &Config { high_water: 1000, ..patient() });
        let (mut reader, mut writer) = ws.into_split().unwrap();
        writer.set_write_timeout(Some(ms(20))).unwrap();
        assert!(matches!(writer.send(vec![1; 500]), Err(Error::WouldBlock)));
        writer.set_write_timeout(None).unwrap();
        let fed = writer.feed(vec![2; 2000]).unwrap();
        let writing = thread::spawn(move || {
            let _ = writer.ready();
            writer
        });
        thread::sleep(ms(50)); // it waits for room
        io.held().says = masked(CLOSE, close_body(1000, ""));
        let reading = thread::spawn(move || reader.recv().map(drop));
        thread::sleep(ms(300)); // our Close waits
        io.held().takes = true;
        reading.join().unwrap().unwrap();
        let writer = writing.join().unwrap();
        assert!(writer.is_written(fed) && writer.buffered_amount() == 0);
        assert_eq!(writer.dropped(), 0);
    });
}
