//! What the cases share: a peer at the other end of a stream with little room, and the run of a
//! case under all interleavings.
//!
//! There is no time here. What is not woken up waits for ever, and loom reports that as a deadlock.
#![allow(dead_code, unreachable_pub)]
use loom::{
    model::Builder,
    sync::{Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
};

/// Runs a case under all interleavings in which threads are interrupted no more often than that
/// where they could go on; `LOOM_MAX_PREEMPTIONS` is another bound.
pub fn check(name: &str, preemptions: usize, case: impl Fn() + Send + Sync + 'static) {
    // Nothing runs in it: it has the clock, which stands still, and takes in timers.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    let _entered = runtime.enter();
    let mut builder = Builder::new();
    builder.max_branches = 20_000;
    let preemptions = *builder.preemption_bound.get_or_insert(preemptions);
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        case();
    });
    let runs = runs.load(Relaxed);
    println!("{name}: {runs} interleavings, all with up to {preemptions} preemptions");
}

/// The reader owes a Pong while the writer sends `payload`, over a stream with little `room` each
/// way: neither waits for the other, and what the core has taken is sent whole. The peer reads
/// nothing until all it sends was read: a Ping, and `rest` once the halves run.
///
/// `halves` starts a thread that receives up to the Close, and one that sends `payload`.
pub fn check_a_pong_and_a_message(
    name: &str,
    rest: Vec<u8>,
    room: [usize; 2],
    payload: &'static [u8],
    halves: impl Fn(&Arc<Wire>) -> (JoinHandle<usize>, JoinHandle<()>) + Send + Sync + 'static,
) {
    check(name, 2, move || {
        let wire = Wire::new(&frame(PING, b"?"), room[0], room[1]);
        let (receiving, sending) = halves(&wire);
        if !rest.is_empty() {
            wire.put(&rest);
        }
        let mut frames = Frames::default();
        wire.take_until(&mut frames, &[PONG, BINARY], false);
        sending.join().unwrap();
        wire.close();
        assert_eq!(receiving.join().unwrap(), usize::from(!rest.is_empty()));
        wire.take_rest(&mut frames);
        frames.assert_are(&[(PONG, b"?"), (BINARY, payload), (CLOSE, NORMAL)]);
    });
}

/// Both ends close while part of a frame is written: the rest of it goes first, then one Close.
///
/// `halves` starts a thread that receives, and one that sends `abcdef`, closes, and returns whether
/// the core took the message.
pub fn check_closes_within_a_frame(
    ticks: bool,
    halves: impl Fn(&Arc<Wire>) -> (JoinHandle<usize>, JoinHandle<bool>) + Send + Sync + 'static,
) {
    check("close within a frame", 2, move || {
        let wire = Wire::new(&frame(CLOSE, NORMAL), 20, 6);
        wire.end_input();
        let (receiving, sending) = halves(&wire);
        let mut frames = Frames::default();
        wire.take_until(&mut frames, &[CLOSE], ticks);
        let mut expected = vec![(CLOSE, NORMAL)];
        if sending.join().unwrap() {
            expected.push((BINARY, b"abcdef"));
        }
        assert_eq!(receiving.join().unwrap(), 0);
        frames.assert_are(&expected);
    });
}

/// The peer takes part of a frame and vanishes: both halves end, and nothing of them is left.
pub fn check_both_are_dropped(
    halves: impl Fn(&Arc<Wire>) -> [JoinHandle<()>; 2] + Send + Sync + 'static,
) {
    check("both dropped", 2, move || {
        let wire = Wire::new(&frame(PING, b"?"), 20, 5);
        let halves = halves(&wire);
        wire.take(&mut [0; 64]);
        wire.end();
        halves.into_iter().for_each(|half| half.join().unwrap());
        assert_eq!(Arc::strong_count(&wire), 1); // with the halves all that they share is gone
    });
}

/// The peer takes what there is room for, and ends its own side, which breaks the connection: of
/// the frames fed, of 4 and 3 bytes, what is not in the stream then is dropped, no more and no
/// less.
///
/// `halves` starts a thread that receives, and one that feeds and flushes `ab`, then `x`, and
/// returns what says afterwards whether each that was fed is written, and how many bytes were
/// dropped.
pub fn check_what_left_is_written<W: FnOnce() -> ([Option<bool>; 2], u64) + 'static>(
    room: usize,
    halves: impl Fn(&Arc<Wire>) -> (JoinHandle<()>, JoinHandle<W>) + Send + Sync + 'static,
) {
    check("what left is written", 2, move || {
        let wire = Wire::new(&[], 20, room);
        let (receiving, sending) = halves(&wire);
        wire.end_input();
        receiving.join().unwrap();
        let (written, dropped) = sending.join().unwrap()();
        let left = wire.written();
        let fed: usize = written.iter().zip([4, 3]).map(|(at, len)| at.map_or(0, |_| len)).sum();
        let whole = [left >= 4, left >= 7].map(Some);
        assert!(written.iter().zip(whole).all(|(&at, whole)| at.is_none() || at == whole));
        assert_eq!(dropped, (fed - left) as u64, "{left} left of {fed}");
    });
}

/// Both directions of a stream, with little room. The WebSocket reads `input` and writes `output`.
///
/// One lock has both, since a thread may wait for either at once.
pub struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    input: Pipe,
    output: Pipe,
    ticks: usize,
    /// Threads that wait for a change.
    waiting: usize,
}

/// Bytes one way.
struct Pipe {
    bytes: VecDeque<u8>,
    room: usize,
    ended: bool,
    /// Tasks that wait; as in a socket one to read, one to write.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What a read or a write came to.
pub enum Io {
    Done(usize),
    Blocked,
    Broken,
}

impl Wire {
    /// `input`: is there already.
    pub fn new(input: &[u8], input_room: usize, output_room: usize) -> Arc<Self> {
        let (mut input_pipe, output) = (Pipe::new(input_room), Pipe::new(output_room));
        input_pipe.bytes.extend(input);
        let state = State { input: input_pipe, output, ticks: 0, waiting: 0 };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Wakes those who wait.
    fn unlock(&self, state: MutexGuard<'_, State>, waker: Option<Waker>) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let mut state = self.changed.wait(state).unwrap();
        state.waiting -= 1;
        state
    }

    // The WebSocket's end.

    /// Reads what there is; a task is woken when there is more.
    pub fn read(&self, spare: &mut [u8], waker: Option<&Waker>) -> Io {
        let mut state = self.lock();
        let done = state.input.read(spare);
        self.after(state, done, waker, |state| (&mut state.input.reader, &mut state.input.writer))
    }

    /// Writes what there is room for; a task is woken when there is more.
    pub fn write(&self, bytes: &[u8], waker: Option<&Waker>) -> Io {
        let mut state = self.lock();
        let done = state.output.write(bytes);
        self.after(state, done, waker, |state| (&mut state.output.writer, &mut state.output.reader))
    }

    fn after(
        &self,
        mut state: MutexGuard<'_, State>,
        done: Io,
        waker: Option<&Waker>,
        sides: impl Fn(&mut State) -> (&mut Option<Waker>, &mut Option<Waker>),
    ) -> Io {
        let (own, other) = sides(&mut state);
        match (&done, waker) {
            (Io::Blocked, Some(waker)) => *own = Some(waker.clone()),
            (Io::Blocked, None) => {}
            _ => {
                let waker = other.take();
                self.unlock(state, waker);
            }
        }
        done
    }

    /// A thread waits until it can read or write, or for a tick behind those seen, if any are to be
    /// seen.
    pub fn wait_for(&self, read: bool, write: bool, seen: &mut Option<usize>) {
        let mut state = self.lock();
        loop {
            let State { input, output, ticks, .. } = &*state;
            if (read && input.is_readable()) || (write && output.is_writable()) {
                return;
            }
            if let Some(seen) = seen
                && *seen < *ticks
            {
                *seen = *ticks;
                return;
            }
            state = self.wait(state);
        }
    }

    /// How many bytes wait for the peer.
    pub fn written(&self) -> usize {
        self.lock().output.bytes.len()
    }

    // The peer.

    /// Sends, and waits for room.
    pub fn put(&self, mut bytes: &[u8]) {
        let mut state = self.lock();
        while !bytes.is_empty() {
            match state.input.write(bytes) {
                Io::Done(n) => {
                    bytes = &bytes[n..];
                    let waker = state.input.reader.take();
                    self.unlock(state, waker);
                    state = self.lock();
                }
                Io::Blocked => state = self.wait(state),
                Io::Broken => unreachable!(),
            }
        }
    }

    /// Takes what was written, and waits for it.
    pub fn take(&self, buffer: &mut [u8]) -> usize {
        let mut state = self.lock();
        loop {
            match state.output.read(buffer) {
                Io::Done(n) => {
                    let waker = state.output.writer.take();
                    self.unlock(state, waker);
                    return n;
                }
                Io::Blocked => state = self.wait(state),
                Io::Broken => unreachable!(),
            }
        }
    }

    /// Receives until there is each of these; adds to `frames`. `ticks`: see [`tick`](Self::tick).
    pub fn take_until(&self, frames: &mut Frames, opcodes: &[u8], ticks: bool) {
        let mut buffer = [0; 64];
        while !opcodes.iter().all(|&opcode| frames.has(opcode)) {
            let n = self.take(&mut buffer);
            frames.add(&buffer[..n]);
            if ticks {
                self.tick();
            }
        }
    }

    /// A wait has lasted long enough. A clock's ticks never end; here they come when the
    /// peer has done something, since at other times there is nothing for a thread to notice.
    pub fn tick(&self) {
        let mut state = self.lock();
        state.ticks += 1;
        self.unlock(state, None);
    }

    /// Closes: its Close, and the end of what it sends.
    pub fn close(&self) {
        self.put(&frame(CLOSE, NORMAL));
        self.end_input();
    }

    /// Takes what was written by halves that have ended, and waits for nothing.
    pub fn take_rest(&self, frames: &mut Frames) {
        frames.add(self.lock().output.bytes.make_contiguous());
    }

    /// Ends what the peer sends: reads find the end.
    pub fn end_input(&self) {
        let mut state = self.lock();
        state.input.ended = true;
        let waker = state.input.reader.take();
        self.unlock(state, waker);
    }

    /// Ends both directions: reads find the end, writes fail.
    pub fn end(&self) {
        let mut state = self.lock();
        state.output.ended = true;
        let waker = state.output.writer.take();
        self.unlock(state, waker);
        self.end_input();
    }
}

impl Pipe {
    fn new(room: usize) -> Self {
        Self { bytes: VecDeque::new(), room, ended: false, reader: None, writer: None }
    }

    fn is_readable(&self) -> bool {
        self.ended || !self.bytes.is_empty()
    }

    fn is_writable(&self) -> bool {
        self.ended || self.bytes.len() < self.room
    }

    fn read(&mut self, spare: &mut [u8]) -> Io {
        let n = spare.len().min(self.bytes.len());
        if n == 0 {
            return if self.ended { Io::Done(0) } else { Io::Blocked };
        }
        for (to, from) in spare.iter_mut().zip(self.bytes.drain(..n)) {
            *to = from;
        }
        Io::Done(n)
    }

    fn write(&mut self, bytes: &[u8]) -> Io {
        if self.ended {
            return Io::Broken;
        }
        match bytes.len().min(self.room - self.bytes.len()) {
            0 => Io::Blocked,
            n => {
                self.bytes.extend(&bytes[..n]);
                Io::Done(n)
            }
        }
    }
}

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

/// A client's frame, with a masking key of zeros.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

pub const NORMAL: &[u8] = &1000u16.to_be_bytes();

/// What a server has sent: short frames, no other.
#[derive(Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.list(); // panics at what is none
    }

    /// Whole frames, in order.
    pub fn list(&self) -> Vec<(u8, &[u8])> {
        let (mut list, mut rest) = (Vec::new(), &self.0[..]);
        while let &[first, len, ref behind @ ..] = rest {
            assert!(first & 0xf0 == 0x80 && len < 126, "not a frame: {rest:?}");
            let Some((payload, behind)) = behind.split_at_checked(len.into()) else { break };
            list.push((first & 0xf, payload));
            rest = behind;
        }
        list
    }

    pub fn has(&self, opcode: u8) -> bool {
        self.list().iter().any(|&(found, _)| found == opcode)
    }

    /// All, and nothing behind them: in any order but that no data is behind a Close.
    pub fn assert_are(&self, expected: &[(u8, &[u8])]) {
        let mut list = self.list();
        let whole: usize = list.iter().map(|(_, payload)| 2 + payload.len()).sum();
        assert_eq!(whole, self.0.len(), "behind {list:?}");
        if let Some(at) = list.iter().position(|&(opcode, _)| opcode == CLOSE) {
            assert!(list.iter().skip(at + 1).all(|&(opcode, _)| opcode > CLOSE), "{list:?}");
        }
        let mut expected = expected.to_vec();
        list.sort();
        expected.sort();
        assert_eq!(list, expected);
    }
}
