//! The ring, and the memory that the kernel reads and writes: the only unsafe code of this crate.
//!
//! The kernel uses memory of ours from the submission of a request until its last completion. So
//! this module owns that memory meanwhile: buffers to receive into, of which the kernel picks one
//! when bytes arrive, and buffers to send from. Nothing outside of it can free or change them.
#![allow(unsafe_code)]
use io_uring::{
    IoUring, cqueue, opcode, squeue,
    types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec},
};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    collections::VecDeque,
    io::{self, ErrorKind},
    mem,
    net::TcpStream,
    os::fd::{FromRawFd, RawFd},
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// The number of buffers that the kernel picks from, a power of two. The kernel receives for about
/// 20 connections at a time, and few buffers stay in the processor's cache.
const BUFFERS: u16 = 32;
/// The bytes that the kernel puts into one buffer at most: a message or a TLS record of 16 KiB with
/// its header. In two buffers it would be copied.
pub(super) const LEN: usize = 17 << 10;
/// The room behind the received bytes that a connection wants: `Receiver::lend_filled`.
const BEHIND: usize = 8;
const GROUP: u16 = 0;
const PAGE: usize = 4096;
/// The number of requests that are submitted by one call.
const QUEUE: u32 = 1024;
/// With more sends than this, they are submitted by a call of their own. In one call the kernel
/// would receive twice, and have no buffers left: 7 % more time with 512 connections.
const FEW: usize = 4;
/// How often the end of a ring waits for the requests that it cancelled, and for how long each.
const LAST_WAITS: (usize, Duration) = (50, Duration::from_millis(20));

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Of {
    Accept,
    Receive,
    Send,
    /// Say once that there is something to read.
    Readable,
    /// Say once that there is room to write.
    Writable,
    /// Say each time that the waker is rung.
    Wake,
    /// End another request.
    Cancel,
}

impl Of {
    const ALL: [Self; 7] = [
        Self::Accept,
        Self::Receive,
        Self::Send,
        Self::Readable,
        Self::Writable,
        Self::Wake,
        Self::Cancel,
    ];

    /// The number of a request: `at` in the upper bits.
    fn number(self, at: u32) -> u64 {
        u64::from(at) << 3 | self as u64
    }

    fn named(number: u64) -> (Option<Self>, u32) {
        (Self::ALL.get((number & 7) as usize).copied(), (number >> 3) as u32)
    }
}

/// What the kernel says of a request.
pub(super) struct Completion {
    pub(super) of: Of,
    pub(super) at: u32,
    /// A number of bytes, or an error code of the system.
    pub(super) result: Result<usize, i32>,
    /// More completions of this request follow.
    pub(super) more: bool,
    /// A received buffer, or the buffer that was to be sent.
    pub(super) buffer: Option<Vec<u8>>,
    pub(super) accepted: Option<TcpStream>,
}

/// A ring, with the memory that its requests use.
pub(super) struct Ring {
    ring: IoUring,
    /// Whether requests can be submitted. The thread that first does so is the only one that can.
    enabled: bool,
    /// Requests that found the queue full.
    backlog: VecDeque<squeue::Entry>,
    /// Requests whose last completion has not come.
    outstanding: usize,
    /// Sends that are not submitted yet.
    sends: usize,
    /// What is being sent, by place. Invariant: the kernel may read a buffer that is not empty.
    sending: Vec<Vec<u8>>,
    /// `BUFFERS` entries, in which the kernel reads which buffers it may fill.
    entries: NonNull<BufRingEntry>,
    tail: u16,
    /// The receive buffers, by number. Invariant: the kernel may write to those not in `missing`,
    /// and those in `missing` are empty.
    with_kernel: Vec<Vec<u8>>,
    missing: Vec<u16>,
    /// Receive buffers in nobody's use. The last one given back is the first taken, because it is
    /// still in the processor's cache.
    spare: Vec<Vec<u8>>,
}

// SAFETY: `entries` is the one field that is not Send. It is memory of this ring alone, which no
// other thread knows.
unsafe impl Send for Ring {}

fn layout() -> io::Result<Layout> {
    Layout::from_size_align(usize::from(BUFFERS) * size_of::<BufRingEntry>(), PAGE)
        .map_err(|_| ErrorKind::InvalidInput.into())
}

impl Ring {
    /// # Errors
    ///
    /// If the kernel forbids io_uring, or is older than 6.1. The flags tell: 6.1 was the first with
    /// `DEFER_TASKRUN`, and the requests made here are older.
    pub(super) fn new() -> io::Result<Self> {
        // Completions are worked off in `wait`, by the loop's thread alone, without interrupts. The
        // ring is enabled by the first wait, because a loop can be made in another thread.
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_r_disabled()
            .setup_cqsize(8 * QUEUE)
            .build(QUEUE)?;
        // SAFETY: the layout has a size above zero.
        let entries = NonNull::new(unsafe { alloc_zeroed(layout()?) });
        let entries = entries.ok_or(ErrorKind::OutOfMemory)?.cast::<BufRingEntry>();
        let mut all = Self {
            ring,
            enabled: false,
            backlog: VecDeque::new(),
            outstanding: 0,
            sends: 0,
            sending: Vec::new(),
            entries,
            tail: 0,
            with_kernel: vec![Vec::new(); usize::from(BUFFERS)],
            missing: (0..BUFFERS).collect(),
            spare: Vec::new(),
        };
        let begin = entries.as_ptr() as u64;
        // SAFETY: the entries are `BUFFERS` in number, are zero, begin a page, and are freed after
        // the group is unregistered: see `drop`.
        unsafe { all.ring.submitter().register_buf_ring_with_flags(begin, BUFFERS, GROUP, 0)? };
        all.refill();
        Ok(all)
    }

    // Requests. Each has one last completion, which says that no `more` follow.

    pub(super) fn accept(&mut self, at: u32, listener: RawFd) {
        const SOCK_CLOEXEC: i32 = 0o2_000_000;
        let accept = opcode::AcceptMulti::new(Fd(listener)).flags(SOCK_CLOEXEC);
        self.push(&accept.build(), Of::Accept, at);
    }

    pub(super) fn receive(&mut self, at: u32, stream: RawFd) {
        self.push(&opcode::RecvMulti::new(Fd(stream), GROUP).build(), Of::Receive, at);
    }

    /// Says that there is an event of poll(2), each time if it `repeats`.
    pub(super) fn poll(&mut self, at: u32, of: Of, fd: RawFd, event: u32, repeats: bool) {
        self.push(&opcode::PollAdd::new(Fd(fd), event).multi(repeats).build(), of, at);
    }

    pub(super) fn cancel(&mut self, at: u32, of: Of) {
        self.push(&opcode::AsyncCancel::new(of.number(at)).build(), Of::Cancel, at);
    }

    /// Sends a buffer, which comes back with the completion. Returns it if it is empty, or if there
    /// is one under way from this place already.
    pub(super) fn send(&mut self, at: u32, stream: RawFd, buffer: Vec<u8>) -> Option<Vec<u8>> {
        const MSG_NOSIGNAL: i32 = 0x4000;
        let place = at as usize;
        if self.sending.len() <= place {
            self.sending.resize(place + 1, Vec::new());
        }
        let sending = self.sending.get_mut(place).filter(|sending| sending.is_empty());
        let Some(sending) = sending.filter(|_| !buffer.is_empty()) else { return Some(buffer) };
        *sending = buffer; // moved, but its bytes stay where they are
        let len = u32::try_from(sending.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(Fd(stream), sending.as_ptr(), len).flags(MSG_NOSIGNAL);
        self.sends += 1;
        self.push(&send.build(), Of::Send, at);
        None
    }

    fn push(&mut self, entry: &squeue::Entry, of: Of, at: u32) {
        let entry = entry.clone().user_data(of.number(at));
        self.outstanding += 1;
        if !self.backlog.is_empty() || !self.queue(&entry) {
            self.backlog.push_back(entry);
        }
    }

    /// Returns `false` if the queue is full.
    fn queue(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the memory that requests refer to stays until their last completions. It is in
        // `with_kernel`, and in `sending`, where `send` and `complete` keep the invariant.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Submits all requests. While the kernel takes none, they stay here.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.enable()?;
        self.sends = 0;
        loop {
            is_passing(self.ring.submit())?;
            let before = self.backlog.len();
            while let Some(entry) = self.backlog.pop_front() {
                if !self.queue(&entry) {
                    self.backlog.push_front(entry);
                    break;
                }
            }
            if self.backlog.len() == before {
                return Ok(());
            }
        }
    }

    /// Whether the ring runs. Its thread is settled then.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn enable(&mut self) -> io::Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        Ok(())
    }

    // Waiting.

    /// Submits all requests, and waits for a completion until `timeout`.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.enable()?;
        self.refill();
        if self.sends > FEW || !self.backlog.is_empty() {
            self.submit()?;
        }
        self.sends = 0;
        let timeout = timeout.map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(timeout) = &timeout {
            args = args.timespec(timeout);
        }
        is_passing(self.ring.submitter().submit_with_args(1, &args))
    }

    /// Adds what is complete by now.
    pub(super) fn complete(&mut self, batch: &mut Vec<Completion>) {
        for entry in self.ring.completion() {
            let (result, flags) = (entry.result(), entry.flags());
            let (Some(of), at) = Of::named(entry.user_data()) else { continue };
            let more = cqueue::more(flags);
            self.outstanding -= usize::from(!more);
            // The kernel names a buffer once, and leaves it to us by that. A send ends at once.
            let buffer = match (of, cqueue::buffer_select(flags)) {
                (_, Some(id)) => {
                    self.missing.push(id);
                    self.with_kernel.get_mut(usize::from(id)).map(mem::take)
                }
                (Of::Send, None) => self.sending.get_mut(at as usize).map(mem::take),
                _ => None,
            };
            let accepted = (of == Of::Accept && result >= 0).then(|| {
                // SAFETY: the kernel has just opened this descriptor for us, and it says so once.
                unsafe { TcpStream::from_raw_fd(result) }
            });
            let result = usize::try_from(result).map_err(|_| -result);
            batch.push(Completion { of, at, result, more, buffer, accepted });
        }
    }

    // Receive buffers.

    /// Gives a buffer back, if there is one. One of another length is not kept.
    pub(super) fn put(&mut self, buffer: impl Into<Option<Vec<u8>>>) {
        if let Some(buffer) = buffer.into()
            && buffer.len() == LEN + BEHIND
            && self.spare.len() < usize::from(BUFFERS)
        {
            self.spare.push(buffer);
        }
    }

    /// Leaves `BUFFERS` buffers to the kernel, new ones if connections have the others.
    fn refill(&mut self) {
        while let Some(id) = self.missing.pop() {
            let mut buffer = self.spare.pop().unwrap_or_else(|| vec![0; LEN + BEHIND]);
            let (begin, at) = (buffer.as_mut_ptr() as u64, usize::from(self.tail % BUFFERS));
            if let Some(place) = self.with_kernel.get_mut(usize::from(id)) {
                *place = buffer;
            }
            self.tail = self.tail.wrapping_add(1);
            // SAFETY: `at` is below the number of entries, and the kernel reads this entry only
            // after the tail has passed it, below.
            let entry = unsafe { &mut *self.entries.as_ptr().add(at) };
            // The buffer has `LEN` bytes or more. It is in `with_kernel` (`id` comes from
            // `missing`, so it is below `BUFFERS`), where nobody looks before the kernel names it.
            entry.set_addr(begin);
            entry.set_len(LEN as u32);
            entry.set_bid(id);
            let first = self.entries.as_ptr();
            // SAFETY: the tail is aligned, lies in the first entry, and is only read by the kernel.
            let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(first).cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
    }

    /// Cancels all requests, and waits for their completions.
    fn end_all(&mut self) -> io::Result<()> {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any().all());
        self.push(&cancel.build(), Of::Cancel, u32::MAX >> 3);
        let (times, each) = LAST_WAITS;
        for _ in 0..times {
            self.wait(Some(each))?;
            self.complete(&mut Vec::new()); // dropped, with the streams that were accepted
            if self.outstanding == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Ring {
    /// Frees the memory if the kernel is done with it. It stays otherwise: when a ring that was
    /// used in one thread is dropped in another one.
    fn drop(&mut self) {
        let ended = if self.enabled { self.end_all() } else { Ok(()) };
        if ended.is_err() || self.enabled && self.outstanding > 0 {
            mem::forget((mem::take(&mut self.sending), mem::take(&mut self.with_kernel)));
            return;
        }
        // Without the registration of `new` this fails, and the kernel knows no entries.
        let _ = self.ring.submitter().unregister_buf_ring(GROUP);
        let Ok(layout) = layout() else { return };
        // SAFETY: the kernel knows the entries no longer, they were allocated with this layout, and
        // nobody uses them below.
        unsafe { dealloc(self.entries.as_ptr().cast(), layout) };
    }
}

/// Whether the next wait will do, if this one has failed.
fn is_passing(submitted: io::Result<usize>) -> io::Result<()> {
    const EINTR: i32 = 4;
    const EAGAIN: i32 = 11;
    const EBUSY: i32 = 16;
    const ETIME: i32 = 62;
    match submitted {
        Err(error) if !matches!(error.raw_os_error(), Some(EINTR | EAGAIN | EBUSY | ETIME)) => {
            Err(error)
        }
        _ => Ok(()),
    }
}
