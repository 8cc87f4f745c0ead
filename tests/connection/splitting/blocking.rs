//! The two halves of a blocking connection, in two threads: neither keeps the other from its work,
//! and both learn of the end.
use crate::support::blocking::*;
use std::{
    io::{self, Read, Write},
    mem,
    net::TcpStream,
    sync::{Arc, Barrier, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};
use testkit::threads::spawn;
use tickwire::{
    Config, Error, Event, Heartbeat, RecvError, SendError,
    blocking::{Incoming, Interest, Reader, Stream, WithoutTimeouts, Writer},
    handshake::server::Accept,
};

type Halves = (Reader<TcpStream>, Writer<TcpStream>);

fn split(config: &Config) -> (Halves, Peer) {
    let (ws, peer) = served(config);
    (ws.into_split().unwrap(), peer)
}

fn text<S: Stream>(reader: &mut Reader<S>) -> String {
    reader.recv().unwrap().unwrap().as_text().unwrap().to_owned()
}

type Flooding = thread::JoinHandle<(usize, Error, Writer<TcpStream>)>;

/// More than the sockets take of a peer that does not read.
const LARGE: usize = 32 << 20;

/// Sends messages without end, each of which is stuck as long as the peer does not read, in a
/// thread; returns the number of those sent whole, and why no more were.
fn flood(mut writer: Writer<TcpStream>) -> Flooding {
    spawn(move || {
        let message = vec![b'd'; LARGE];
        for sent in 0.. {
            if let Err(error) = writer.send(&message) {
                return (sent, error, writer);
            }
        }
        unreachable!()
    })
}

/// A thread that receives: the peer has sent it fifty Pings and messages, and waited for it to hear
/// of each. It returns whether the end was clean.
fn hears_fifty(mut reader: Reader<TcpStream>, peer: &mut Peer) -> thread::JoinHandle<bool> {
    let (heard, hearing) = mpsc::channel();
    let reading = spawn(move || {
        while let Some(message) = reader.recv().unwrap() {
            heard.send(message.as_bytes().to_vec()).unwrap();
        }
        reader.closed().is_some_and(|end| end.clean)
    });
    for i in 0..50u8 {
        peer.say(PING, &[i]);
        peer.say(BINARY, &[i]);
        assert_eq!(hearing.recv_timeout(PATIENCE).unwrap(), [i]);
    }
    reading
}

#[test]
fn a_writer_stuck_in_a_write_keeps_nobody_from_reading_and_pongs_follow() {
    bounded(|| {
        let ((reader, writer), mut peer) = split(&patient());
        let flooding = flood(writer);
        peer.looks();
        // The peer does not read, and waits for its messages to be received.
        let reading = hears_fifty(reader, &mut peer);
        // Now it reads: whole frames, and the pong of the newest ping among them, behind no more
        // than what the system had taken and the frame under way.
        let (mut whole, mut pongs) = (0, Vec::new());
        while pongs.last() != Some(&49) {
            match peer.next() {
                (BINARY, payload) => {
                    assert!(payload == vec![b'd'; LARGE]);
                    whole += 1;
                }
                (PONG, payload) => pongs.push(payload[0]),
                other => panic!("{other:?}"),
            }
        }
        assert!(pongs.len() < 50, "a flood of pings costs few pongs");
        assert!(whole > 0);
        peer.say(CLOSE, &close_body(1000, ""));
        while peer.next().0 != CLOSE {}
        peer.at_end();
        drop(peer);
        assert!(reading.join().unwrap());
        let (_, error, _) = flooding.join().unwrap();
        assert!(matches!(error, Error::Send(SendError::Closed)), "{error:?}");
    });
}

/// Its Pong has to wait; its caller does not, nor once the Pong was written.
#[test]
fn the_readers_timeout_passes_beside_a_writer_stuck_in_a_write() {
    bounded(|| {
        let ((mut reader, mut writer), mut peer) = split(&patient());
        let writing = spawn(move || {
            writer.send(vec![b'd'; 32 << 20]).unwrap();
            writer
        });
        peer.looks();
        peer.say(PING, b"?");
        reader.set_read_timeout(Some(ms(100))).unwrap();
        assert!(matches!(reader.recv(), Err(Error::WouldBlock)));
        assert_eq!(peer.next().1.len(), 32 << 20);
        let _writer = writing.join().unwrap();
        assert!(matches!(reader.recv(), Err(Error::WouldBlock)));
        assert_eq!(peer.next(), (PONG, b"?".to_vec()));
    });
}

/// The writer has left it there.
#[test]
fn what_is_held_when_receiving_fails_is_dropped_at_once() {
    bounded(|| {
        let ((mut reader, mut writer), peer) = split(&patient());
        writer.set_write_timeout(Some(ms(60))).unwrap();
        assert!(matches!(writer.send(vec![b'd'; 32 << 20]), Err(Error::WouldBlock)));
        peer.end();
        assert!(matches!(reader.recv(), Err(Error::Recv(RecvError::UnexpectedEof))));
        assert_eq!(writer.buffered_amount(), 0);
        assert!(writer.dropped() > 0);
    });
}

#[test]
fn room_is_waited_for_and_no_longer() {
    let io = Scripted::new([]);
    let ws = server(io.clone(), &Config { high_water: 1000, ..patient() });
    let (_reader, mut writer) = ws.into_split().unwrap();
    for _ in 0..2 {
        let _ = writer.feed(vec![7; 600]).unwrap();
    }
    assert!(matches!(writer.feed("more"), Err(SendError::Full { .. })));
    io.script().room = Some(700);
    writer.ready().unwrap();
    assert_eq!(io.script().room, Some(0));
    assert!(matches!(writer.flush(), Err(Error::WouldBlock)), "there is more to write");
}

#[test]
fn a_reader_that_has_to_finish_a_frame_goes_on_reading() {
    bounded(|| {
        let ((reader, mut writer), mut peer) = split(&patient());
        // The writer goes away in the middle of a frame.
        writer.set_write_timeout(Some(ms(100))).unwrap();
        let large = vec![b'd'; 32 << 20];
        assert!(matches!(writer.send(&large), Err(Error::WouldBlock)));
        let before = writer.buffered_amount();
        assert!(before > 0);
        let reading = hears_fifty(reader, &mut peer);
        // Nobody flushes, but the pong has to come out, and the frame before it.
        assert_eq!(peer.next().1.len(), 32 << 20);
        assert_eq!(peer.next().0, PONG);
        peer.say(CLOSE, &close_body(1000, ""));
        while peer.next().0 != CLOSE {}
        drop(peer);
        assert!(reading.join().unwrap());
    });
}

#[test]
fn a_reader_that_owes_nothing_writes_what_the_writer_gave_up() {
    bounded(|| {
        let ((mut reader, mut writer), mut peer) = split(&patient());
        peer.say(TEXT, b"before");
        assert_eq!(text(&mut reader), "before");
        writer.set_write_timeout(Some(ms(100))).unwrap();
        assert!(matches!(writer.send(vec![b'd'; 32 << 20]), Err(Error::WouldBlock)));
        let reading = spawn(move || text(&mut reader));
        assert_eq!(peer.next().1.len(), 32 << 20);
        peer.say(TEXT, b"after");
        assert_eq!(reading.join().unwrap(), "after");
    });
}

#[test]
fn the_reader_writes_the_idle_message_and_what_was_fed_before() {
    bounded(|| {
        let ((mut reader, mut writer), mut peer) =
            split(&Config { idle_message: Some((ms(50), "ping".into())), ..patient() });
        let fed = writer.feed("fed").unwrap();
        let reading = spawn(move || while reader.recv().unwrap().is_some() {});
        assert_eq!(peer.next(), (TEXT, b"fed".to_vec()));
        for _ in 0..3 {
            assert_eq!(peer.next(), (TEXT, b"ping".to_vec()));
        }
        assert!(writer.is_written(fed));
        // And in front of what else overtakes and waits for a flush, or behind it, but once.
        let _ = writer.with_sender(|tx| tx.feed_first("first")).unwrap();
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != b"last") {
            if seen.len() == 3 {
                writer.send("last").unwrap();
            }
            seen.push(peer.next().1);
        }
        assert_eq!(seen.iter().filter(|payload| **payload == b"first").count(), 1);
        peer.say(CLOSE, &close_body(1000, ""));
        while peer.next().0 != CLOSE {}
        drop(peer);
        reading.join().unwrap();
    });
}

#[test]
fn the_reader_writes_what_was_fed_with_the_pong_that_it_owes() {
    bounded(|| {
        let ((mut reader, mut writer), mut peer) = split(&patient());
        let fed = writer.feed("fed").unwrap();
        let shared = writer.feed(vec![1; 100_000]).unwrap();
        let _ = writer.with_sender(|tx| tx.feed_first("first")).unwrap();
        peer.say(PING, b"1");
        let reading = spawn(move || while reader.recv().unwrap().is_some() {});
        let mut frames: Vec<_> = (0..4).map(|_| peer.next()).collect();
        // The Pong overtakes what is unwritten when the Ping is read.
        frames.retain(|frame| *frame != (PONG, b"1".to_vec()));
        assert_eq!(frames[0], (TEXT, b"first".to_vec()));
        assert_eq!(frames[1], (TEXT, b"fed".to_vec()));
        assert_eq!(frames[2], (BINARY, vec![1; 100_000]));
        for payload in [b"2", b"3"] {
            peer.say(PING, payload);
            assert_eq!(peer.next(), (PONG, payload.to_vec()));
        }
        assert!(writer.is_written(fed) && writer.is_written(shared));
        assert_eq!(writer.buffered_amount(), 0);
        peer.say(CLOSE, &close_body(1000, ""));
        assert_eq!(peer.next(), (CLOSE, close_body(1000, "")));
        drop(peer);
        reading.join().unwrap();
    });
}

#[test]
fn the_readers_answer_to_a_close_leaves_behind_what_was_fed() {
    bounded(|| {
        let ((mut reader, mut writer), mut peer) = split(&patient());
        let reading = spawn(move || {
            while reader.recv().unwrap().is_some() {}
            reader
        });
        peer.say(PING, b"does it read?");
        assert_eq!(peer.next(), (PONG, b"does it read?".to_vec()));
        let _ = writer.feed("last").unwrap();
        peer.say(CLOSE, &close_body(1000, ""));
        assert_eq!(peer.next(), (TEXT, b"last".to_vec()));
        assert_eq!(peer.next(), (CLOSE, close_body(1000, "")));
        peer.at_end();
        drop(peer);
        assert!(reading.join().unwrap().closed().unwrap().clean);
        assert!(matches!(writer.ready(), Err(Error::Send(SendError::Closed))));
        writer.flush().unwrap();
    });
}

#[test]
fn a_corked_response_is_written_by_the_reader() {
    bounded(|| {
        let (near, far) = tcp_pair();
        let mut peer = client_in_bytes(far);
        peer.wire(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        let incoming = Incoming::read(near, &patient()).unwrap();
        let mut ws = incoming.accept_corked(Accept::default().subprotocols(&["x"])).unwrap();
        let _ = ws.feed("snapshot").unwrap();
        let (mut reader, mut writer) = ws.into_split().unwrap();
        let reading = spawn(move || text(&mut reader));
        peer.head();
        assert_eq!(peer.next(), (TEXT, b"snapshot".to_vec()));
        peer.say(PING, b"?");
        assert_eq!(peer.next(), (PONG, b"?".to_vec()));
        writer.flush().unwrap();
        peer.say(TEXT, b"thanks");
        assert_eq!(reading.join().unwrap(), "thanks");
    });
}

/// A stream on which nothing comes. Its first read meets the test twice: when it has begun, and
/// before it waits as long as it may.
#[derive(Clone)]
struct Silent(Arc<Waits>);

struct Waits {
    timeout: Mutex<Option<Duration>>,
    /// How long each was to last at the most.
    made: Mutex<Vec<Duration>>,
    /// What the first read brings.
    said: Mutex<Vec<u8>>,
    turn: Barrier,
    /// The stream ends in this wait.
    last: usize,
}

impl Silent {
    fn wait_for(&self, most: Duration) {
        self.0.made.lock().unwrap().push(most);
        if self.waits() == 1 {
            self.0.turn.wait();
            self.0.turn.wait();
        }
        if !self.is_over() {
            thread::sleep(most);
        }
    }

    fn is_over(&self) -> bool {
        self.waits() >= self.0.last
    }

    fn read_nothing(&self) -> io::Result<usize> {
        if self.is_over() { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn waits(&self) -> usize {
        self.0.made.lock().unwrap().len()
    }
}

impl Read for Silent {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let said = mem::take(&mut *self.0.said.lock().unwrap());
        if !said.is_empty() {
            return said.as_slice().read(room);
        }
        if !self.is_over() {
            self.wait_for(self.0.timeout.lock().unwrap().expect("a wait without an end"));
        }
        self.read_nothing()
    }
}

impl Write for Silent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Silent {
    fn try_write(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
        self.write_vectored(bufs)
    }
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        *self.0.timeout.lock().unwrap() = timeout;
        Ok(())
    }

    fn try_read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.read_nothing()
    }

    fn wait(&self, _: Interest, timeout: Option<Duration>) -> io::Result<()> {
        if self.0.said.lock().unwrap().is_empty() {
            self.wait_for(timeout.expect("a wait without an end"));
        }
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

/// A reader waits on a stream whose `last` wait is its end, and the writer closes meanwhile. What
/// receiving ended with, and how long each wait was to last at the most, whatever the clock says.
fn closed_while_it_waits(close_timeout: Duration, last: usize) -> (RecvError, Vec<Duration>) {
    let waits = Arc::new(Waits {
        timeout: Mutex::default(),
        made: Mutex::default(),
        said: Mutex::new(masked(TEXT, b"before")),
        turn: Barrier::new(2),
        last,
    });
    // With a heartbeat, the read before the split has set the stream's timeout already.
    let heartbeat = Some(Heartbeat::new(PATIENCE, PATIENCE));
    let config = Config { close_timeout, heartbeat, ..patient() };
    let mut ws = server(Silent(waits.clone()), &config);
    assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("before"));
    assert_eq!(*waits.timeout.lock().unwrap(), Some(ms(1_000)));
    let (mut reader, mut writer) = ws.into_split().unwrap();
    let reading = spawn(move || reader.recv().map(drop));
    waits.turn.wait(); // it waits, with no deadline of its own
    writer.close(None).unwrap();
    waits.turn.wait();
    let ended = recv_error(reading.join().unwrap());
    let made = waits.made.lock().unwrap().clone();
    (ended, made)
}

/// Nobody wakes it: its waits are short enough for the deadline that the writer sets going
/// meanwhile.
#[test]
fn a_reader_that_waits_is_stopped_by_the_writers_close() {
    bounded(|| {
        let (ended, waits) = closed_while_it_waits(ms(200), usize::MAX);
        assert_eq!(ended, RecvError::CloseTimeout);
        assert!(waits.iter().all(|wait| *wait <= ms(50)), "{waits:?}");
        assert!(waits.iter().sum::<Duration>() <= ms(250), "{waits:?}");
    });
}

#[test]
fn a_reader_beside_a_writer_waits_for_a_second_at_most() {
    bounded(|| {
        let (ended, waits) = closed_while_it_waits(ms(4_100), 2);
        assert_eq!(ended, RecvError::UnexpectedEof);
        assert_eq!(waits.len(), 2);
        assert!(waits.iter().all(|wait| *wait <= ms(1_000)), "{waits:?}");
    });
}

#[test]
fn a_writer_stuck_in_a_write_learns_that_receiving_has_ended() {
    bounded(|| {
        let config = Config { close_timeout: ms(300), ..patient() };
        let ((mut reader, writer), mut peer) = split(&config);
        let flooding = flood(writer);
        peer.looks();
        // A violation: there is a Close to write, for which there is no room.
        peer.wire(&unmasked(TEXT, b"not masked"));
        let error = reader.recv().unwrap_err();
        assert!(matches!(error, Error::Recv(RecvError::Protocol(_))), "{error:?}");
        let (_, error, _) = flooding.join().unwrap();
        assert!(matches!(error, Error::Recv(RecvError::Protocol(_))), "{error:?}");
    });
}

#[test]
fn a_violation_is_reported_past_a_writer_as_soon_as_there_is_room() {
    bounded(|| while !is_reported_past_a_writer() {});
}

/// `false` if there was no room for the Close within the second for which the reader waits, because
/// the machine is busy.
fn is_reported_past_a_writer() -> bool {
    let ((mut reader, writer), mut peer) = split(&patient());
    let flooding = flood(writer);
    peer.looks();
    peer.wire(&unmasked(TEXT, b"not masked"));
    let ending = spawn(move || {
        let error = reader.recv().unwrap_err();
        flooding.join().unwrap();
        error
    });
    let mut bytes = Vec::new();
    let read = peer.io.read_to_end(&mut bytes);
    drop(peer);
    assert!(matches!(ending.join().unwrap(), Error::Recv(RecvError::Protocol(_))));
    let close = [&[CLOSE, 2][..], &close_body(1002, "")].concat();
    let Some(frames) = bytes.strip_suffix(&close[..]).filter(|_| read.is_ok()) else {
        return false;
    };
    let head = [&[BINARY, 127][..], &(LARGE as u64).to_be_bytes()].concat();
    assert_eq!(frames.len() % (head.len() + LARGE), 0);
    assert!(frames.chunks(head.len() + LARGE).all(|frame| frame.starts_with(&head)));
    true
}

#[test]
fn a_peer_that_never_reads_is_given_up_by_both() {
    bounded(|| {
        let ((mut reader, writer), peer) = split(&Config { write_timeout: ms(300), ..patient() });
        let reading = spawn(move || recv_error(reader.recv()));
        let (_, error, _) = flood(writer).join().unwrap();
        assert!(matches!(error, Error::Recv(RecvError::WriteTimeout)), "{error:?}");
        assert_eq!(reading.join().unwrap(), RecvError::WriteTimeout);
        drop(peer);
        // Where only the reader is left to write.
        with_time_enough(|timeout| {
            let Some(((mut reader, _writer), mut peer)) = given_up(timeout) else { return false };
            peer.say(PING, b"?");
            assert_eq!(recv_error(reader.recv()), RecvError::WriteTimeout);
            true
        });
        // With a write that the writer gave up the reader goes on, though it owes nothing.
        with_time_enough(|timeout| {
            let Some(((mut reader, _writer), _peer)) = given_up(timeout) else { return false };
            assert_eq!(recv_error(reader.recv()), RecvError::WriteTimeout);
            true
        });
    });
}

/// Halves whose caller has given up a write; `None` if the write timeout came first.
fn given_up(timeout: Duration) -> Option<(Halves, Peer)> {
    let ((reader, mut writer), peer) = split(&Config { write_timeout: timeout, ..patient() });
    writer.set_write_timeout(Some(timeout / 3)).unwrap();
    match writer.send(vec![0; LARGE]) {
        Err(Error::WouldBlock) => Some(((reader, writer), peer)),
        Err(Error::Recv(RecvError::WriteTimeout)) => None,
        sent => panic!("{sent:?}"),
    }
}

#[test]
fn timeouts_of_the_caller_and_streams_that_do_not_block() {
    bounded(|| {
        let ((mut reader, mut writer), mut peer) = split(&patient());
        reader.set_read_timeout(Some(ms(60))).unwrap();
        let began = Instant::now();
        assert!(matches!(reader.recv(), Err(Error::WouldBlock)));
        took(began, ms(40));
        peer.say(PING, b"?");
        peer.say(TEXT, b"x");
        assert_eq!(reader.recv_event().unwrap(), Some(Event::Ping(b"?")));
        assert_eq!(reader.recv_owned().unwrap().unwrap().as_bytes(), b"x");
        if cfg!(windows) {
            return; // The adapter waits there all the same: blocking/sys.rs.
        }
        reader.set_read_timeout(None).unwrap();
        reader.get_ref().set_nonblocking(true).unwrap();
        for_once_within(ms(900), || {
            (0..20).for_each(|_| assert!(matches!(reader.recv(), Err(Error::WouldBlock))));
        });
        let large = vec![0; 32 << 20];
        assert!(matches!(writer.send(&large), Err(Error::WouldBlock)));
        assert_eq!(peer.next().0, PONG);
        let position = writer.fed();
        let reading = spawn(move || peer.next().1.len());
        while matches!(writer.flush(), Err(Error::WouldBlock)) {}
        assert!(writer.is_written(position));
        assert_eq!(reading.join().unwrap(), 32 << 20);
    });
}

#[test]
fn timeouts_set_before_the_split_go_to_the_half_they_concern() {
    bounded(|| {
        let (mut ws, _peer) = served(&patient());
        ws.set_read_timeout(Some(ms(60))).unwrap();
        ws.set_write_timeout(Some(ms(60))).unwrap();
        let (mut reader, mut writer) = ws.into_split().unwrap();
        let began = Instant::now();
        assert!(matches!(reader.recv(), Err(Error::WouldBlock)));
        assert!(matches!(writer.send(vec![0; 32 << 20]), Err(Error::WouldBlock)));
        took(began, ms(100));
    });
}

#[test]
fn without_the_other_half_each_goes_on() {
    bounded(|| {
        let ((mut reader, writer), mut peer) = split(&patient());
        drop(writer);
        peer.say(PING, b"?");
        peer.say(TEXT, b"x");
        assert_eq!(text(&mut reader), "x");
        let there = spawn(move || reader.recv().unwrap().is_none());
        assert_eq!(peer.next(), (PONG, b"?".to_vec()));
        peer.say(CLOSE, b"");
        assert_eq!(peer.next(), (CLOSE, vec![]));
        drop(peer);
        assert!(there.join().unwrap());

        let ((reader, mut writer), mut peer) = split(&patient());
        drop(reader);
        writer.with_sender(|tx| tx.ping(b"!")).unwrap();
        writer.flush().unwrap();
        writer.send("x").unwrap();
        assert_eq!(peer.next(), (PING, b"!".to_vec()));
        assert_eq!(peer.next(), (TEXT, b"x".to_vec()));
        drop(peer);
        while writer.send("y").is_ok() {}
        assert!(writer.with_sender(|tx| tx.is_closed()));
    });
}

#[test]
fn a_stream_that_cannot_be_cloned_is_not_split() {
    let ws = server(WithoutTimeouts(Scripted::default()), &patient());
    assert_eq!(ws.into_split().unwrap_err().kind(), io::ErrorKind::Unsupported);
}

#[test]
fn why_writing_ended_goes_along_with_the_halves() {
    bounded(|| {
        let io = Scripted::new([Read1::Bytes(masked(CLOSE, close_body(1000, "")))]);
        io.script().room = Some(0);
        io.script().open = true;
        let mut ws = server(io, &Config { close_timeout: ms(50), ..patient() });
        let timed_out = |error| matches!(error, Error::Recv(RecvError::CloseTimeout));
        while let Err(Error::WouldBlock) = ws.recv() {
            thread::sleep(ms(5)); // until the answering Close has waited for too long
        }
        let (mut reader, mut writer) = ws.into_split().unwrap();
        assert!(reader.recv().is_err_and(timed_out));
        assert!(writer.flush().is_err_and(timed_out));
    });
}
