//! The caller's own timeouts of the blocking adapter, on a stream that takes a byte after each
//! wait.
use crate::support::{blocking::*, tries::tries};
use std::{
    io::{self, Read, Write},
    mem,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Config, Error, SendError,
    blocking::{Interest, Stream},
};

/// Nothing comes. It takes a byte after each wait, and the first without one. Checks that each wait
/// may last as long as the caller's write timeout, if there is one, from the byte before it.
#[derive(Clone)]
struct Trickling(Arc<Mutex<Trickle>>);

struct Trickle {
    write_timeout: Option<Duration>,
    /// When it last took a byte.
    taken: Instant,
    has_room: bool,
    waits: usize,
}

impl Trickling {
    fn new(write_timeout: Option<Duration>) -> Self {
        let taken = Instant::now();
        Self(Arc::new(Mutex::new(Trickle { write_timeout, taken, has_room: true, waits: 0 })))
    }

    fn waits(&self) -> usize {
        self.0.lock().unwrap().waits
    }
}

impl Read for Trickling {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Trickling {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        let mut trickle = self.0.lock().unwrap();
        if !mem::take(&mut trickle.has_room) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        trickle.taken = Instant::now();
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Trickling {
    tries!();

    fn wait(&self, _: Interest, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Ok(()); // it only asks whether this stream can wait
        }
        let mut trickle = self.0.lock().unwrap();
        if let Some(most) = trickle.write_timeout {
            let timeout = timeout.unwrap();
            let least = most.saturating_sub(trickle.taken.elapsed());
            assert!((least..=most).contains(&timeout), "{timeout:?}, not {least:?}");
        }
        trickle.waits += 1;
        thread::sleep(ms(20));
        trickle.has_room = true;
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

/// The bytes of a short message's header.
const HEADER: usize = 2;

/// Only the caller's timeout ends a wait.
fn config() -> Config {
    Config { write_timeout: 10 * PATIENCE, high_water: 8, ..patient() }
}

/// On a busy machine the timeout may pass between a byte and the wait: then the bytes that are left
/// are flushed by another call.
fn until_done(mut call: impl FnMut() -> Result<(), Error>) {
    loop {
        match call() {
            Err(Error::WouldBlock) => {}
            done => return done.unwrap(),
        }
    }
}

#[test]
fn the_write_timeout_begins_again_with_each_byte_that_the_stream_takes() {
    bounded(|| {
        let io = Trickling::new(Some(PATIENCE));
        let mut ws = server(io.clone(), &config());
        ws.set_write_timeout(Some(PATIENCE)).unwrap();
        ws.send("1234").unwrap();
        assert_eq!(io.waits(), HEADER + 4 - 1);
    });
}

/// A writer waits for at most 50 ms at a time, so only a timeout below that is seen.
#[test]
fn the_write_timeout_of_a_writer_begins_again_with_each_byte_that_the_stream_takes() {
    bounded(|| {
        let io = Trickling::new(Some(ms(40)));
        let (_reader, mut writer) = server(io.clone(), &config()).into_split().unwrap();
        writer.set_write_timeout(Some(ms(40))).unwrap();
        let _ = writer.feed("1234").unwrap();
        until_done(|| writer.flush());
        assert_eq!(io.waits(), HEADER + 4 - 1);
    });
}

#[test]
fn a_writer_waits_for_room_before_it_sends() {
    bounded(|| {
        let io = Trickling::new(None);
        let (_reader, mut writer) = server(io.clone(), &config()).into_split().unwrap();
        let _ = writer.feed("123456789").unwrap();
        assert!(matches!(writer.feed("more"), Err(SendError::Full { .. })));
        writer.send("more").unwrap();
        assert_eq!(io.waits(), (HEADER + 9) + (HEADER + 4) - 1);
    });
}
