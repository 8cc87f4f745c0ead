//! A program without the standard library: a day in the life of a device (`device.rs`, the loop to
//! read) and of what calls it, on a clock that is a number. It fails to build when anything below
//! `tickwire`, `tickwire-feed` or `tickwire-parts` brings `std` with it, since that has a panic
//! handler of its own.
#![no_std]
#![no_main]

extern crate alloc;

mod device;

use bytes::Buf;
use core::{
    alloc::{GlobalAlloc, Layout},
    ffi::{c_char, c_int, c_void},
    time::Duration,
};
use device::{Device, Queue, Uart};
use tickwire_dial as _; // links, and all below it
use tickwire_feed as _;
use tickwire_parts as _;
use tickwire::{
    CloseCode, Config, Connection, Entropy, Message, RecvError, Step, Time,
    handshake::{Progress, client::{Handshake, Request}},
};

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

/// The other end of the line: what it has seen.
#[derive(Default, PartialEq)]
struct Seen {
    echoes: u32,
    pings: u32,
    pongs: u32,
    closed: bool,
}

/// Exit codes: 0 for success, else where it went wrong.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    let mut line = Line {
        device: Device::new(),
        uart: Uart { received: Queue::new(), to_send: Queue::new() },
        now: Time::ZERO,
    };
    match line.day() {
        Ok(()) => 0,
        Err(Failed(at)) => at,
    }
}

/// Where.
struct Failed(c_int);

struct Line {
    device: Device,
    uart: Uart,
    now: Time,
}

impl Line {
    /// All a device lives through.
    fn day(&mut self) -> Result<(), Failed> {
        // A text and 300 bytes come back through queues of 64, and a Ping is answered.
        let mut host = self.call().ok_or(Failed(1))?;
        let tx = host.sender_mut();
        let fed = tx.feed("Zoë").is_ok() && tx.feed(&[7; 300][..]).is_ok();
        let seen = self.exchange(&mut host).map_err(|_| Failed(2))?;
        expect(fed && host.sender_mut().ping(b"?").is_ok(), 3)?;
        expect(seen == Seen { echoes: 2, ..Seen::default() }, 4)?;
        let seen = self.exchange(&mut host).map_err(|_| Failed(5))?;
        expect(seen == Seen { pongs: 1, ..Seen::default() }, 6)?;

        // Silence: the device asks, the host answers.
        for round in 0..3 {
            let seen = self.sleep_until_it_says(&mut host).ok_or(Failed(7 + round))?;
            expect(seen == Seen { pings: 1, ..Seen::default() }, 10 + round)?;
        }
        // The host is gone: the device gives up by itself, in 10 s to 12.5 s and 5 s.
        let gone = self.now;
        while self.device.is_open() {
            self.now = self.device.wakes_at().ok_or(Failed(13))?;
            self.device.run(&mut self.uart, self.now);
            self.drain();
        }
        let waited = (self.now - gone).as_millis();
        expect((15_000..=17_500).contains(&waited), 14)?;

        // Who calls with something else is told so, and who says nothing is, after 10 s.
        expect(self.says(b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 426 "), 15)?;
        self.now = self.now + Duration::from_secs(10);
        expect(self.says(b"", b"HTTP/1.1 408 "), 16)?;

        // The next one closes in order, and the line is free again.
        let mut host = self.call().ok_or(Failed(17))?;
        expect(host.sender_mut().close(CloseCode::NORMAL).is_ok(), 18)?;
        let seen = self.exchange(&mut host).map_err(|_| Failed(19))?;
        expect(seen == Seen { closed: true, ..Seen::default() } && !self.device.is_open(), 20)
    }

    /// The opening handshake.
    fn call(&mut self) -> Option<Connection> {
        let request = Request::new("ws://device/").ok()?;
        let mut handshake = Handshake::new(&request, &Config::default(), Counter(0));
        while handshake.step().ok()? == Progress::Partial {
            let n = self.uart.received.push(handshake.outgoing());
            handshake.advance(n);
            self.device.run(&mut self.uart, self.now);
            let n = self.uart.to_send.pop(handshake.reading.spare_mut());
            handshake.reading.commit(n);
        }
        handshake.into_connection().ok()
    }

    /// Until neither end has anything to say.
    fn exchange(&mut self, host: &mut Connection) -> Result<Seen, RecvError> {
        let mut seen = Seen::default();
        loop {
            match host.step()? {
                Step::Message => {
                    let message = host.receiver().message();
                    let whole = Message::Binary(&[7; 300]);
                    seen.echoes += u32::from([Some("Zoë".into()), Some(whole)].contains(&message));
                }
                Step::Ping => seen.pings += 1,
                Step::Pong => seen.pongs += 1,
                Step::Close => seen.closed = true,
                Step::Closed => return Ok(seen),
                Step::NeedInput => {
                    let mut out = host.sender_mut().outgoing();
                    let sent = self.uart.received.push(out.chunk());
                    out.advance(sent);
                    self.device.run(&mut self.uart, self.now);
                    let n = self.uart.to_send.pop(host.receiver_mut().spare_mut());
                    host.receiver_mut().commit(n);
                    if sent + n == 0 {
                        return Ok(seen);
                    }
                }
            }
        }
    }

    fn sleep_until_it_says(&mut self, host: &mut Connection) -> Option<Seen> {
        loop {
            self.now = self.device.wakes_at()?;
            let seen = self.exchange(host).ok()?;
            if seen != Seen::default() {
                return Some(seen);
            }
        }
    }

    /// Whether the device answers these bytes with something that begins so.
    fn says(&mut self, bytes: &[u8], begins: &[u8]) -> bool {
        self.uart.received.push(bytes);
        self.device.run(&mut self.uart, self.now);
        let mut answer = [0; 64];
        let n = self.uart.to_send.pop(&mut answer);
        self.device.run(&mut self.uart, self.now);
        self.drain();
        answer[..n].starts_with(begins)
    }

    /// Nobody is there to read it.
    fn drain(&mut self) {
        while self.uart.to_send.pop(&mut [0; 64]) > 0 {
            self.device.run(&mut self.uart, self.now);
        }
    }
}

fn expect(holds: bool, at: c_int) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(Failed(at)) }
}
