//! A program without the standard library: a client and a server in memory, on a clock that is a
//! number. It fails to build when anything below `tickwire`, `tickwire-feed` or `tickwire-parts`
//! brings `std` with it, since that has a panic handler of its own. `examples/device` is firmware.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use bytes::Buf;
use core::{
    alloc::{GlobalAlloc, Layout},
    ffi::{c_char, c_int, c_void},
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Connection, Entropy, Event, Heartbeat, Next, Report, Role, Time,
    handshake::{Progress, client, server},
};
use tickwire_dial as _; // links, and all below it
use tickwire_feed as _;
use tickwire_parts as _;

#[link(name = "c")]
unsafe extern "C" {
    fn aligned_alloc(align: usize, size: usize) -> *mut c_void;
    fn free(ptr: *mut c_void);
    fn abort() -> !;
}

struct Libc;

// SAFETY: `aligned_alloc` gives memory that nobody else has, aligned as asked, until `free`.
unsafe impl GlobalAlloc for Libc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // C wants a size that is a multiple of the alignment.
        let layout = layout.pad_to_align();
        // SAFETY: a `Layout`'s alignment is a power of two; any size is allowed.
        unsafe { aligned_alloc(layout.align().max(size_of::<usize>()), layout.size()).cast() }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, _: Layout) {
        // SAFETY: the caller got it from `alloc`.
        unsafe { free(ptr.cast()) }
    }
}

#[global_allocator]
static ALLOC: Libc = Libc;

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: it may be called at any time.
    unsafe { abort() }
}

/// The shipped `alloc` was compiled to unwind and names these; with panic=abort nobody calls them.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}

/// No randomness: what is sent here reaches nobody.
struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, dest: &mut [u8]) {
        for byte in dest {
            self.0 = self.0.wrapping_add(91);
            *byte = self.0;
        }
    }
}

/// Exit codes: 0 for success, else where it went wrong.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    talk().err().unwrap_or(0)
}

/// How many messages, Pings and Closes an end has received.
type Seen = [u32; 3];

fn talk() -> Result<(), c_int> {
    let heartbeat = Heartbeat::new(Duration::from_secs(10), Duration::from_secs(5));
    let config = Config { heartbeat: Some(heartbeat), ..Config::default() };
    let (mut client, mut server) = open(&config).ok_or(1)?;
    let mut now = Time::ZERO;
    let tx = client.sender_mut();
    let fed = tx.feed("Zoë").is_ok() && tx.feed(&[7; 300][..]).is_ok();
    expect(fed && exchange(&mut client, &mut server, now) == ([2, 0, 0], [2, 0, 0]), 2)?;
    // Silence: the server asks, and the client answers.
    for at in 3..6 {
        now = server.poll_timeout().ok_or(at)?;
        while exchange(&mut client, &mut server, now) != ([0, 1, 0], [0; 3]) {
            let later = server.poll_timeout().ok_or(at)?;
            expect(later > now, at)?;
            now = later;
        }
    }
    expect(client.sender_mut().close(CloseCode::NORMAL).is_ok(), 6)?;
    expect(exchange(&mut client, &mut server, now) == ([0, 0, 1], [0, 0, 1]), 7)
}

/// The opening handshake.
fn open(config: &Config) -> Option<(Connection, Connection)> {
    let request = client::Request::new("ws://device/").ok()?;
    let mut client = client::Handshake::new(&request, &Config::default(), Counter(0));
    let mut server = server::Handshake::new(config);
    while server.step().ok()? == Progress::Partial {
        let n = move_bytes(client.outgoing(), server.reading.spare_mut());
        client.advance(n);
        server.reading.commit(n);
    }
    let mut server = server.accept(server::Accept::default()).ok()?;
    while client.step().ok()? == Progress::Partial {
        let mut out = server.sender_mut().outgoing();
        let n = move_bytes(out.chunk(), client.reading.spare_mut());
        out.advance(n);
        client.reading.commit(n);
    }
    Some((client.into_connection().ok()?, server))
}

/// Goes on until neither end has anything to say.
fn exchange(client: &mut Connection, server: &mut Connection, now: Time) -> (Seen, Seen) {
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    let (mut at_client, mut at_server) = (Seen::default(), Seen::default());
    loop {
        turn(client, &mut to_client, &mut to_server, now, &mut at_client);
        turn(server, &mut to_server, &mut to_client, now, &mut at_server);
        if to_client.is_empty() {
            return (at_client, at_server);
        }
    }
}

/// Does all that can be done now. The server echoes.
fn turn(conn: &mut Connection, from: &mut Vec<u8>, to: &mut Vec<u8>, now: Time, seen: &mut Seen) {
    let echoes = conn.role() == Role::Server;
    loop {
        match conn.next(now) {
            Next::Event(event, tx) => match event {
                Event::Message(message) => {
                    seen[0] += 1;
                    if echoes {
                        let _ = tx.feed(message);
                    }
                }
                Event::Ping(_) => seen[1] += 1,
                Event::Pong(_) => {}
                Event::Close(_) => seen[2] += 1,
            },
            Next::Write(mut out) => {
                let len = out.chunk().len();
                to.extend_from_slice(out.chunk());
                out.advance(len);
            }
            Next::Read(rx) => match move_bytes(from, rx.spare_mut()) {
                0 => conn.report(Report::ReadBlocked),
                n => {
                    rx.commit(n);
                    from.drain(..n);
                }
            },
            Next::ShutDown => conn.report(Report::ShutDown),
            Next::Wait(_) | Next::Over(_) => return,
        }
    }
}

fn move_bytes(from: &[u8], to: &mut [u8]) -> usize {
    let n = from.len().min(to.len());
    to[..n].copy_from_slice(&from[..n]);
    n
}

fn expect(holds: bool, at: c_int) -> Result<(), c_int> {
    if holds { Ok(()) } else { Err(at) }
}
