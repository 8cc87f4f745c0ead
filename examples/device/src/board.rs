//! The board, an LM3S6965 as QEMU models it: Ethernet, time, memory, and the debugger's console.
//! This is the only file with `unsafe`.
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use core::{arch::asm, cell::UnsafeCell, fmt, mem::MaybeUninit, ptr};
use linked_list_allocator::Heap;
use smoltcp::phy::{Device, DeviceCapabilities, RxToken, TxToken};

// The registers used, of the Ethernet controller and the timer.
const RECEIVE_CONTROL: usize = 0x4004_8008;
const TRANSMIT_CONTROL: usize = 0x4004_800c;
const DATA: usize = 0x4004_8010;
const FRAMES: usize = 0x4004_8034;
const TRANSMIT: usize = 0x4004_8038;
const TIMER_CONTROL: usize = 0xe000_e010;
const TIMER_RELOAD: usize = 0xe000_e014;

fn read(register: usize) -> u32 {
    // SAFETY: called with the registers above only.
    unsafe { ptr::read_volatile(register as *const u32) }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above. No value makes this hardware write to memory.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}

/// The size of a length (two bytes), the longest Ethernet frame, and its check sequence.
const FRAME: usize = 2 + 1514 + 4;

/// The Ethernet controller. Its FIFO has a frame's length and the frame, in words of four bytes.
pub struct Card {
    received: [u8; FRAME],
    to_send: [u8; FRAME],
}

impl Device for Card {
    type RxToken<'a> = Frame<'a>;
    type TxToken<'a> = Frame<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Frame<'_>, Frame<'_>)> {
        if read(FRAMES) == 0 {
            return None;
        }
        let first = read(DATA).to_le_bytes();
        let len = usize::from(u16::from_le_bytes([first[0], first[1]]));
        self.received[..4].copy_from_slice(&first);
        for at in (4..len).step_by(4) {
            let word = read(DATA).to_le_bytes();
            if let Some(to) = self.received.get_mut(at..at + 4) {
                to.copy_from_slice(&word);
            }
        }
        // A frame that is too long is dropped.
        let received = self.received.get_mut(..len.checked_sub(4)?)?;
        Some((Frame(received), Frame(&mut self.to_send)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Frame<'_>> {
        (read(TRANSMIT) == 0).then_some(Frame(&mut self.to_send))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// Two bytes, and then a received frame or room for a frame to send.
pub struct Frame<'a>(&'a mut [u8]);

impl RxToken for Frame<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0[2..])
    }
}

impl TxToken for Frame<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let result = f(&mut self.0[2..2 + len]);
        let payload = len.saturating_sub(14) as u16; // without the header
        self.0[..2].copy_from_slice(&payload.to_le_bytes());
        for word in self.0[..(2 + len).next_multiple_of(4)].as_chunks().0 {
            write(DATA, u32::from_le_bytes(*word));
        }
        write(TRANSMIT, 1);
        result
    }
}

/// Milliseconds since the start, modulo 2³².
pub static MILLISECONDS: AtomicU32 = AtomicU32::new(0);

#[unsafe(no_mangle)]
extern "C" fn SysTick() {
    MILLISECONDS.fetch_add(1, Relaxed);
}

/// Waits for the next millisecond.
pub fn sleep() {
    // SAFETY: changes no memory.
    unsafe { asm!("wfi") }
}

struct Board {
    card: Card,
    tcp: [[u8; 2048]; 2],
    memory: [MaybeUninit<u8>; 16 << 10],
}

/// `cortex-m-rt` starts the program here. The debugger has the program's command line.
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    static mut BOARD: Board = Board {
        card: Card { received: [0; FRAME], to_send: [0; FRAME] },
        tcp: [[0; 2048]; 2],
        memory: [MaybeUninit::uninit(); 16 << 10],
    };
    let board = &raw mut BOARD;
    // SAFETY: `main` is called once, and nothing else names the static.
    let Board { card, tcp: [received, to_send], memory } = unsafe { &mut *board };
    let mut line = [0; 256];
    debugger(0x15, [line.as_mut_ptr() as usize, line.len()].as_ptr() as usize); // SYS_GET_CMDLINE
    let line = line.split(|&b| b == 0).next().unwrap_or_default();
    let line = core::str::from_utf8(line).unwrap_or_default();
    let heap = line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    // SAFETY: nothing has allocated yet, so no other reference exists.
    unsafe { (*HEAP.0.get()).init_from_slice(memory.get_mut(..heap).unwrap_or_default()) };
    write(RECEIVE_CONTROL, 0b1001); // drop frames with a wrong check sequence
    write(TRANSMIT_CONTROL, 0b1111); // full duplex, with padding and check sequence
    write(TIMER_RELOAD, 12_500 - 1); // a millisecond, with the clock as QEMU has it after a reset
    write(TIMER_CONTROL, 0b111); // the processor's clock, interrupts, on
    crate::run(card, received, to_send, line)
}

/// Asks the debugger, which is QEMU here, for a service (Arm's semihosting).
fn debugger(service: usize, argument: usize) {
    // SAFETY: the callers in this file pass what the service asks for.
    unsafe { asm!("bkpt 0xab", inout("r0") service => _, in("r1") argument) }
}

/// The debugger's console.
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| debugger(0x03, &raw const byte as usize)); // SYS_WRITEC
        Ok(())
    }
}

/// Ends QEMU.
pub fn end() -> ! {
    loop {
        debugger(0x18, 0x2_0023); // SYS_EXIT, with an error
    }
}

/// The heap, and the most bytes in use so far.
struct Counted(UnsafeCell<Heap>, AtomicUsize);

#[global_allocator]
static HEAP: Counted = Counted(UnsafeCell::new(Heap::empty()), AtomicUsize::new(0));

// SAFETY: the processor has one core, and interrupts do not allocate.
unsafe impl Sync for Counted {}

// SAFETY: `Heap` keeps the rules of an allocator, and no call interrupts another.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no other reference exists now.
        let heap = unsafe { &mut *self.0.get() };
        let memory = heap.allocate_first_fit(layout);
        self.1.fetch_max(heap.used(), Relaxed);
        memory.map_or(ptr::null_mut(), ptr::NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; the caller got the memory from `alloc`, so it is not null.
        unsafe { (*self.0.get()).deallocate(ptr::NonNull::new_unchecked(memory), layout) }
    }
}

/// The bytes in use: of the heap now, of the heap at most so far, of the stack at most so far.
pub fn memory() -> [usize; 3] {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    let (start, mut at) = (&raw const _stack_start, &raw const _stack_end);
    // SAFETY: all between these two is RAM, which `cortex-m-rt` has painted.
    while at < start && unsafe { at.read_volatile() } == cortex_m_rt::STACK_PAINT_VALUE {
        at = at.wrapping_add(1);
    }
    // SAFETY: no other reference exists now.
    [unsafe { (*HEAP.0.get()).used() }, HEAP.1.load(Relaxed), start.addr() - at.addr()]
}
