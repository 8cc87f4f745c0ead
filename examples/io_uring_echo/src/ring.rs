//! What is unsafe about io_uring, and nothing else: the ring, and the buffers that the kernel picks
//! from when bytes arrive, so that a connection that waits has none.
use io_uring::{
    IoUring, cqueue, opcode, squeue,
    types::{BufRingEntry, Fd, Fixed, SubmitArgs, Timespec},
};
use rustix::process::{Resource, getrlimit};
use socket2::SockAddr;
use std::{
    alloc::{Layout, alloc_zeroed, handle_alloc_error},
    io::{self, ErrorKind},
    mem::{self, ManuallyDrop},
    net::SocketAddr,
    os::fd::RawFd,
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// For so many connections the kernel receives each time it is asked to submit or to wait.
const AT_ONCE: usize = 20;
/// How many buffers the kernel has to pick from, a power of two, and how long each is. Few stay in
/// the processor's cache. One takes a message or a record of 16 KiB with its header, which in two would be copied.
const BUFFERS: u16 = 32;
const LEN: usize = 17 << 10;
/// What a connection wants behind the bytes that it takes where they lie.
const BEHIND: usize = 8;
const GROUP: u16 = 0;
const PAGE: usize = 4096;
const QUEUE: u32 = 1024;
/// How many connections there can be at most; fewer, where the system allows fewer descriptors.
const FILES: u32 = 1 << 16;
/// How long completions that are likely to come are waited for, once there is one.
const PATIENCE: Duration = Duration::from_micros(30);
/// So many sends are submitted by the call that waits.
const FEW: usize = 4;

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Of {
    Accept,
    Receive(usize),
    Send(usize),
    /// That receiving stop.
    Stop(usize),
    Connect(usize),
    /// That it take bytes.
    Writable(usize),
}

pub struct Completion {
    pub of: Of,
    pub result: io::Result<usize>,
    /// More will come of the same request.
    pub more: bool,
    buffer: Option<u16>,
}

pub struct Ring {
    ring: IoUring,
    /// Sends that were asked for and not submitted.
    sends: usize,
    /// Who is being connected, and to where: the kernel reads that when it begins.
    dialed: Vec<(usize, Box<SockAddr>)>,
}

/// What the kernel picks from. Never freed: a ring that is closed is torn down behind our back, and
/// a program has one for as long as it runs.
pub struct Buffers {
    /// `BUFFERS` entries, in which the kernel reads which buffers it may fill.
    entries: NonNull<BufRingEntry>,
    tail: u16,
    /// By number; empty are those in `missing`. The kernel writes into the others.
    with_kernel: ManuallyDrop<Vec<Vec<u8>>>,
    missing: Vec<u16>,
    /// With nobody. The last one given back is the first taken: it is still in the cache.
    spare: Vec<Vec<u8>>,
}

const fn layout() -> Layout {
    match Layout::from_size_align(BUFFERS as usize * size_of::<BufRingEntry>(), PAGE) {
        Ok(layout) => layout,
        Err(_) => panic!("the sizes above are no layout"),
    }
}

impl Buffers {
    fn new() -> Self {
        // SAFETY: the layout is not empty.
        let entries = unsafe { alloc_zeroed(layout()) };
        let entries = NonNull::new(entries).unwrap_or_else(|| handle_alloc_error(layout()));
        let with_kernel = ManuallyDrop::new(vec![Vec::new(); usize::from(BUFFERS)]);
        let missing = (0..BUFFERS).collect();
        Self { entries: entries.cast(), tail: 0, with_kernel, missing, spare: Vec::new() }
    }

    /// What was received: a buffer, and how many bytes at its start. One has to be `put` for it.
    pub fn take(&mut self, completion: &mut Completion) -> Option<(Vec<u8>, usize)> {
        // The kernel names a buffer once, and has left it to us by that.
        let id = completion.buffer.take()?;
        self.missing.push(id);
        let buffer = mem::take(&mut self.with_kernel[usize::from(id)]);
        Some((buffer, completion.result.as_ref().map_or(0, |&n| n.min(LEN))))
    }

    /// A buffer that is with nobody, if there is one.
    pub fn spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Gives one back, this or another.
    pub fn put(&mut self, buffer: Vec<u8>) {
        if buffer.len() == LEN + BEHIND && self.spare.len() < usize::from(BUFFERS) {
            self.spare.push(buffer);
        }
    }

    /// Leaves as many buffers to the kernel as it had, new ones if connections keep some.
    pub fn refill(&mut self) {
        while let Some(id) = self.missing.pop() {
            let mut buffer = self.spare.pop().unwrap_or_else(|| vec![0; LEN + BEHIND]);
            let (addr, at) = (buffer.as_mut_ptr() as u64, usize::from(self.tail % BUFFERS));
            self.with_kernel[usize::from(id)] = buffer;
            self.tail = self.tail.wrapping_add(1);
            // SAFETY: `at` is below the count of entries, and the kernel does not read this one
            // before the tail is behind it. The buffer is `LEN` bytes or longer, and nobody looks
            // at it or frees it before the kernel names it. The tail lies in the first entry, where
            // `BufRingEntry::tail` says, is aligned, and is only read by the kernel.
            unsafe {
                let entry = &mut *self.entries.as_ptr().add(at);
                entry.set_addr(addr);
                entry.set_len(LEN as u32);
                entry.set_bid(id);
                let tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
                AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
            }
        }
    }
}

impl Ring {
    /// # Errors
    ///
    /// When this kernel has no io_uring, one too old (6.1 has what is asked for), or forbids it.
    pub fn new() -> io::Result<(Self, Buffers)> {
        let mut options = IoUring::builder();
        // Completions are worked off in `wait`, by this thread alone: no interrupts in between.
        options.setup_single_issuer().setup_defer_taskrun().setup_cqsize(8 * QUEUE);
        let ring = options.build(QUEUE)?;
        if !ring.params().is_feature_ext_arg() {
            return Err(ErrorKind::Unsupported.into());
        }
        let mut buffers = Buffers::new();
        let entries = buffers.entries.as_ptr() as u64;
        // SAFETY: the entries are `BUFFERS` in number, begin a page, and are never freed.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries, BUFFERS, GROUP, 0)? };
        buffers.refill();
        // Room to register files in: a request for one of them does not look it up.
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        ring.submitter().register_files_sparse(u32::try_from(most).unwrap_or(FILES).min(FILES))?;
        Ok((Self { ring, sends: 0, dialed: Vec::new() }, buffers))
    }

    /// Registers a peer's stream, for what is asked for it, until `forget`. Fails if there are too
    /// many.
    pub fn register(&mut self, peer: usize, stream: RawFd) -> io::Result<()> {
        let at = u32::try_from(peer).unwrap_or(u32::MAX);
        self.ring.submitter().register_files_update(at, &[stream]).map(|_| ())
    }

    /// The kernel holds the stream no longer: it is closed when the program closes it.
    pub fn forget(&mut self, peer: usize) -> io::Result<()> {
        self.register(peer, -1)
    }

    /// Accepts connections, until a completion says that no more come.
    pub fn accept(&mut self, listener: RawFd) -> io::Result<()> {
        self.push(&opcode::AcceptMulti::new(Fd(listener)).build(), Of::Accept)
    }

    /// Connects a peer's stream, one that would wait: the others are refused.
    pub fn connect(&mut self, peer: usize, to: SocketAddr) -> io::Result<()> {
        let to = Box::new(SockAddr::from(to));
        let connect = opcode::Connect::new(Fixed(peer as u32), to.as_ptr().cast(), to.len());
        self.dialed.push((peer, to)); // until the completion
        self.push(&connect.build(), Of::Connect(peer))
    }

    /// Says once when a stream takes bytes.
    pub fn writable(&mut self, peer: usize) -> io::Result<()> {
        const POLLOUT: u32 = 4;
        self.push(&opcode::PollAdd::new(Fixed(peer as u32), POLLOUT).build(), Of::Writable(peer))
    }

    /// Receives, until a completion says that no more comes.
    pub fn receive(&mut self, peer: usize) -> io::Result<()> {
        self.push(&opcode::RecvMulti::new(Fixed(peer as u32), GROUP).build(), Of::Receive(peer))
    }

    pub fn stop_receiving(&mut self, peer: usize) -> io::Result<()> {
        let cancel = opcode::AsyncCancel::new(number(Of::Receive(peer))).build();
        self.push(&cancel, Of::Stop(peer))
    }

    /// Sends some of `bytes`.
    ///
    /// # Safety
    ///
    /// The bytes must stay where they are and as they are until the completion.
    pub unsafe fn send(&mut self, peer: usize, bytes: &[u8]) -> io::Result<()> {
        const MSG_NOSIGNAL: i32 = 0x4000;
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(Fixed(peer as u32), bytes.as_ptr(), len).flags(MSG_NOSIGNAL);
        self.sends += 1;
        self.push(&send.build(), Of::Send(peer))
    }

    fn push(&mut self, entry: &squeue::Entry, of: Of) -> io::Result<()> {
        let entry = entry.clone().user_data(number(of));
        // SAFETY: the only memory that requests refer to are `Buffers`, never freed, the addresses in
        // `dialed`, which stay until the completion, and what the callers of `send` answer for.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.ring.submit()?; // it was full
        }
        Ok(())
    }

    /// Submits all requests and waits for a completion: for as many as are `expected` no longer than
    /// 30 µs, where the kernel can (6.12); for one until `timeout`.
    pub fn wait(&mut self, expected: usize, timeout: Option<Duration>) -> io::Result<()> {
        let sends = mem::take(&mut self.sends);
        if sends > FEW {
            passing(self.ring.submit())?; // else the kernel would receive twice, beyond its buffers
        }
        // Sends are complete at once, as a rule: they are no reason to wake up.
        let at_least = (sends + expected).min(AT_ONCE);
        let patient = at_least > 1 && self.ring.params().is_feature_min_timeout();
        // With a minimum wait alone the kernel would not go to sleep after it.
        let limit = timeout.or(patient.then_some(Duration::from_secs(3600)));
        let limit = limit.map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(limit) = &limit {
            args = args.timespec(limit);
        }
        if patient {
            args = args.min_wait_usec(PATIENCE.as_micros() as u32);
        }
        let want = if patient { at_least } else { 1 };
        passing(self.ring.submitter().submit_with_args(want, &args))
    }

    /// Adds what is complete by now.
    pub fn complete(&mut self, batch: &mut Vec<Completion>) {
        batch.extend(self.ring.completion().map(|entry| {
            let (result, flags) = (entry.result(), entry.flags());
            Completion {
                of: meaning(entry.user_data()),
                result: usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)),
                more: cqueue::more(flags),
                buffer: cqueue::buffer_select(flags),
            }
        }));
        self.dialed.retain(|&(peer, _)| batch.iter().all(|done| done.of != Of::Connect(peer)));
    }
}

const EINTR: i32 = 4;
const EBUSY: i32 = 16;
const ETIME: i32 = 62;

/// The next wait will do.
fn passing(submitted: io::Result<usize>) -> io::Result<()> {
    match submitted {
        Err(error) if !matches!(error.raw_os_error(), Some(ETIME | EINTR | EBUSY)) => Err(error),
        _ => Ok(()),
    }
}

fn number(of: Of) -> u64 {
    match of {
        Of::Accept => 0,
        Of::Stop(peer) => (peer as u64) << 3 | 1,
        Of::Receive(peer) => (peer as u64) << 3 | 2,
        Of::Send(peer) => (peer as u64) << 3 | 3,
        Of::Connect(peer) => (peer as u64) << 3 | 4,
        Of::Writable(peer) => (peer as u64) << 3 | 5,
    }
}

fn meaning(number: u64) -> Of {
    match (number & 7, (number >> 3) as usize) {
        (0, _) => Of::Accept,
        (1, peer) => Of::Stop(peer),
        (2, peer) => Of::Receive(peer),
        (3, peer) => Of::Send(peer),
        (4, peer) => Of::Connect(peer),
        (_, peer) => Of::Writable(peer),
    }
}
