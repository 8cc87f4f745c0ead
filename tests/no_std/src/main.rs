//! A program without the standard library that receives a frame and answers it. It fails to build
//! when anything below `tickwire` brings `std` with it, since that has a panic handler of its own.
#![no_std]
#![no_main]

use bytes::Buf;
use core::{
    alloc::{GlobalAlloc, Layout},
    ffi::{c_char, c_int, c_void},
};
use tickwire::{Config, Connection, Entropy, Message, Negotiated, RecvError, Step};

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

/// The shipped `alloc` was compiled to unwind and names this; with panic=abort nobody calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

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
    let config = Config::default();
    let mut client = Connection::client(&config, Negotiated::new(), Counter(0));
    let mut server = Connection::server(&config, Negotiated::new());
    // A text that the server echoes, and a Ping, which is answered without being asked.
    if client.sender().feed("Zoë").is_err() || client.sender().ping(b"?").is_err() {
        return 1;
    }
    if !matches!(pass(&mut client, &mut server, true), Ok((1, 1, 0))) {
        return 2;
    }
    if !matches!(pass(&mut server, &mut client, false), Ok((1, 0, 1))) {
        return 3;
    }
    0
}

/// Moves all bytes from one to the other. Says how many texts, Pings and Pongs came.
fn pass(
    from: &mut Connection,
    to: &mut Connection,
    echo: bool,
) -> Result<(u32, u32, u32), RecvError> {
    let (mut texts, mut pings, mut pongs) = (0, 0, 0);
    loop {
        match to.step()? {
            Step::NeedInput => {
                let mut out = from.sender().outgoing();
                let spare = to.spare_mut();
                let n = out.chunk().len().min(spare.len());
                if n == 0 {
                    return Ok((texts, pings, pongs));
                }
                spare[..n].copy_from_slice(&out.chunk()[..n]);
                out.advance(n);
                to.commit(n);
            }
            Step::Message => {
                let (rx, tx) = to.split_mut();
                if let Some(message @ Message::Text("Zoë")) = rx.message() {
                    texts += 1;
                    if echo && tx.feed(message).is_err() {
                        texts += 100;
                    }
                }
            }
            Step::Ping => pings += 1,
            Step::Pong => pongs += 1,
            Step::Close | Step::Closed => return Ok((0, 0, 0)),
        }
    }
}
