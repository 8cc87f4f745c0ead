//! Streams that say how much room they have, since they do not tell what a write took that had to wait: TCP on
//! Windows, and here one in memory.
use crate::support::blocking::*;
use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};
use tickwire::{Config, Error, RecvError, blocking::Stream};

/// Both handles of it are the same stream.
#[derive(Clone, Default)]
struct Roomy(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    taken: Vec<u8>,
    /// What there is room for.
    room: usize,
    timeout: Option<Duration>,
    /// A write takes all and fails: with `TimedOut`, it waits though there is room.
    fails: Option<io::ErrorKind>,
}

impl Roomy {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Read for Roomy {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

impl Write for Roomy {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[io::IoSlice::new(from)])
    }

    fn write_vectored(&mut self, from: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.lock();
        let before = state.taken.len();
        from.iter().for_each(|from| state.taken.extend_from_slice(from));
        let n = state.taken.len() - before;
        assert!(n <= state.room, "a write of {n} bytes waits for more than {}", state.room);
        state.room -= n;
        state.fails.map_or(Ok(n), |kind| Err(kind.into()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Roomy {
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.lock().timeout = timeout;
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn writes_vectored(&self) -> bool {
        true
    }

    fn room(&self) -> io::Result<usize> {
        let began = Instant::now();
        let timeout = self.lock().timeout.expect("a bound on the wait");
        loop {
            let room = self.lock().room;
            if room > 0 || began.elapsed() >= timeout {
                return Ok(room);
            }
            thread::sleep(ms(1));
        }
    }
}

/// A message that is written as slices: its header, and itself.
fn large() -> Vec<u8> {
    (0..=250).collect::<Vec<u8>>().repeat(1000)
}

/// Makes room bit by bit, until all of this was taken.
fn takes(io: Roomy, whole: Vec<u8>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for room in (1..).step_by(997) {
            let mut state = io.lock();
            assert!(whole.starts_with(&state.taken), "behind {} bytes", state.taken.len());
            if state.taken.len() == whole.len() {
                return;
            }
            state.room = room;
            drop(state);
            thread::sleep(ms(1));
        }
    })
}

#[test]
fn no_write_has_more_than_there_is_room_for_and_nothing_is_written_twice() {
    bounded(|| {
        let whole = [plain(BINARY, large()), plain(TEXT, "behind it")].concat();
        for split in [false, true] {
            let io = Roomy::default();
            let taking = takes(io.clone(), whole.clone());
            let mut ws = server(io, &Config::default());
            if split {
                let (_reader, mut writer) = ws.into_split().unwrap();
                writer.send(large()).unwrap();
                writer.send("behind it").unwrap();
            } else {
                ws.send(large()).unwrap();
                ws.send("behind it").unwrap();
            }
            taking.join().unwrap();
        }
    });
}

#[test]
fn a_wait_for_room_ends_with_the_deadline_and_the_callers_goes_on() {
    bounded(|| {
        let io = Roomy::default();
        let mut ws = server(io.clone(), &Config::default());
        ws.set_write_timeout(Some(ms(60))).unwrap();
        assert!(matches!(ws.send(large()), Err(Error::WouldBlock)));
        let taking = takes(io, plain(BINARY, large()));
        ws.set_write_timeout(None).unwrap();
        ws.flush().unwrap();
        taking.join().unwrap();

        let mut ws = server(Roomy::default(), &Config::default().write_timeout(ms(100)));
        let error = ws.send(large()).unwrap_err();
        assert!(matches!(error, Error::Recv(RecvError::WriteTimeout)), "{error:?}");
    });
}

#[test]
fn a_write_that_fails_or_waits_all_the_same_is_the_last() {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, TimedOut};
    bounded(|| {
        for (fails, told) in [(TimedOut, ConnectionAborted), (BrokenPipe, BrokenPipe)] {
            let io = Roomy::default();
            *io.lock() = State { room: usize::MAX - 1, fails: Some(fails), ..State::default() };
            let mut ws = server(io.clone(), &Config::default());
            let error = ws.send(large()).unwrap_err();
            assert!(matches!(&error, Error::Io(io) if io.kind() == told), "{error:?}");
            let taken = io.lock().taken.len();
            assert!(ws.send("behind it").is_err() && ws.recv().is_err());
            assert_eq!(io.lock().taken.len(), taken);
        }
    });
}
