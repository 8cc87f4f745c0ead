//! The ring, and the memory that the kernel reads and writes: the only unsafe code of this crate.
//!
//! From the submission of a request until its last completion, the kernel uses memory of this
//! process. This module owns that: buffers to receive into, from which the kernel picks one when
//! bytes arrive, and buffers to send from. While the kernel uses them, no code outside can free or
//! change them.
#![allow(unsafe_code)]
use super::fault;
use io_uring::{
    IoUring, cqueue, opcode, squeue,
    types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec},
};
use std::{
    cell::UnsafeCell,
    collections::VecDeque,
    io, mem,
    os::fd::RawFd,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// The kernel accepts only a power of two, which also keeps `tail % BUFFERS` in `refill` correct
/// when `tail` overflows. It receives for about 20 connections at a time, so 32 are enough; of
/// more, fewer would be in the processor's cache when they are used.
const BUFFERS: u16 = 32;
/// The length of a buffer. A message or a TLS record of 16 KiB fits with its header; in two
/// buffers, it would have to be copied.
pub(super) const LEN: usize = 17 << 10;
/// What `Receiver::lend_filled` needs after the received bytes.
const BEHIND: usize = 8;
/// The only group of receive buffers.
const GROUP: u16 = 0;
const PAGE: usize = 4096;
/// Requests that one call submits.
const QUEUE: u32 = 1024;
/// More waiting sends than this are submitted by a separate call before the wait. In the wait, the
/// kernel would receive twice and run out of buffers: with 512 connections, that took 7 % more
/// time.
const FEW: usize = 4;
/// In `drop`, for cancelled requests: 50 times 20 ms, a second in all.
const LAST_WAITS: (usize, Duration) = (50, Duration::from_millis(20));

/// 34 years.
const LONGEST: Duration = Duration::from_secs(1 << 30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Of {
    Receive,
    Send,
    /// Report once that there is room to write.
    Writable,
    /// Report once that a poll has an event.
    Poll,
    /// Cancel another request.
    Cancel,
}

impl Of {
    const ALL: [Self; 5] = [Self::Receive, Self::Send, Self::Writable, Self::Poll, Self::Cancel];

    /// `at` in the upper bits, the kind in the lower 3.
    fn number(self, at: u32) -> u64 {
        u64::from(at) << 3 | self as u64
    }

    fn named(number: u64) -> (Option<Self>, u32) {
        (Self::ALL.get((number & 7) as usize).copied(), (number >> 3) as u32)
    }
}

/// Of the kernel, about a request.
pub(super) struct Completion {
    pub(super) of: Of,
    pub(super) at: u32,
    /// A number of bytes, or the error code of the operating system.
    pub(super) result: Result<usize, i32>,
    /// More completions of this request follow.
    pub(super) more: bool,
    /// That was filled, or was sent from.
    pub(super) buffer: Option<Vec<u8>>,
}

/// The ring, with the memory that its requests use.
pub(super) struct Ring {
    ring: IoUring,
    /// Only the thread that enabled the ring can submit requests.
    enabled: bool,
    /// Requests for which the queue had no room.
    backlog: VecDeque<squeue::Entry>,
    /// Requests whose last completion has not arrived.
    outstanding: usize,
    /// Not submitted yet.
    sends: usize,
    /// The output under way, by place. Invariant: the kernel may read each buffer that is not
    /// empty.
    sending: Vec<Vec<u8>>,
    /// `BUFFERS` of them, which tell the kernel which buffers it may fill.
    entries: Box<[Page]>,
    tail: u16,
    /// The receive buffers, by number. Invariant: those in `missing` are empty, and the kernel may
    /// write to all others.
    with_kernel: Vec<Vec<u8>>,
    missing: Vec<u16>,
    /// Used by nobody. The one given back last is taken first, because it is still in the
    /// processor's cache.
    spare: Vec<Vec<u8>>,
}

/// Read by the kernel.
#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; PAGE]>);
const _: () = assert!(BUFFERS as usize * size_of::<BufRingEntry>() <= PAGE);

impl Ring {
    /// # Errors
    ///
    /// If the kernel forbids io_uring, or is older than 6.1. An older kernel refuses the flag
    /// `DEFER_TASKRUN`. Each kernel that accepts this flag has all kinds of requests that this
    /// module makes.
    pub(super) fn new() -> io::Result<Self> {
        fault("setup")?;
        // The kernel completes requests only inside calls of the loop's thread, and does not
        // interrupt it. Not enabled yet, because `new` may run in another thread. One request to
        // receive has many completions, so their queue is longer. Both lengths are guesses: a
        // longer queue costs memory, and a full one costs calls, but no completion is lost.
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_r_disabled()
            .setup_cqsize(8 * QUEUE)
            .build(QUEUE)?;
        let mut all = Self {
            ring,
            enabled: false,
            backlog: VecDeque::new(),
            outstanding: 0,
            sends: 0,
            sending: Vec::new(),
            entries: Box::new([Page(UnsafeCell::new([0; PAGE]))]),
            tail: 0,
            with_kernel: vec![Vec::new(); usize::from(BUFFERS)],
            missing: (0..BUFFERS).collect(),
            spare: Vec::new(),
        };
        let begin = all.entries.as_ptr() as u64;
        fault("register buffers")?;
        // SAFETY: there are `BUFFERS` entries, which are zero and begin at a page. They are freed
        // only after the group is unregistered: see `drop`.
        unsafe { all.ring.submitter().register_buf_ring_with_flags(begin, BUFFERS, GROUP, 0)? };
        all.refill();
        Ok(all)
    }

    // The last completion of each has `more` off.

    pub(super) fn receive(&mut self, at: u32, stream: RawFd) {
        self.push(&opcode::RecvMulti::new(Fd(stream), GROUP).build(), Of::Receive, at);
    }

    pub(super) fn poll(&mut self, at: u32, of: Of, fd: RawFd, event: u32) {
        self.push(&opcode::PollAdd::new(Fd(fd), event).build(), of, at);
    }

    pub(super) fn cancel(&mut self, at: u32, of: Of) {
        #[cfg(test)] // no request has this number, so the kernel refuses this request
        let of = fault("cancel").map_or(Of::Cancel, |()| of);
        self.push(&opcode::AsyncCancel::new(of.number(at)).build(), Of::Cancel, at);
    }

    /// The completion gives the buffer back. If it is empty, or a send from this place is already
    /// under way, it is returned at once.
    pub(super) fn send(&mut self, at: u32, stream: RawFd, buffer: Vec<u8>) -> Option<Vec<u8>> {
        const MSG_NOSIGNAL: i32 = 0x4000;
        let place = at as usize;
        if self.sending.len() <= place {
            self.sending.resize(place + 1, Vec::new());
        }
        let sending = self.sending.get_mut(place).filter(|sending| sending.is_empty());
        let Some(sending) = sending.filter(|_| !buffer.is_empty()) else { return Some(buffer) };
        *sending = buffer; // this moves the vector, but not its bytes
        let len = u32::try_from(sending.len()).unwrap_or(u32::MAX); // at most `SHORT`
        let send = opcode::Send::new(Fd(stream), sending.as_ptr(), len).flags(MSG_NOSIGNAL);
        self.sends += 1;
        self.push(&send.build(), Of::Send, at);
        None
    }

    /// After the backlog if there is one, because the kernel has to get requests in order: a
    /// `Cancel` that came before its send would cancel nothing, and the closed stream would keep
    /// its place as long as the peer does not read.
    fn push(&mut self, entry: &squeue::Entry, of: Of, at: u32) {
        let entry = entry.clone().user_data(of.number(at));
        self.outstanding += 1;
        if !self.backlog.is_empty() || !self.queue(&entry) {
            self.backlog.push_back(entry);
        }
    }

    fn queue(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the memory that requests refer to stays until their last completions. It is in
        // `with_kernel`, and in `sending`, where `send` and `complete` keep the invariant.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    pub(super) fn has_sends(&self) -> bool {
        self.sends > 0
    }

    /// What the kernel does not accept yet stays in `backlog`, which may be longer than the queue,
    /// so one call may not be enough.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.enable()?;
        self.sends = 0;
        loop {
            is_passing(fault("submit").and_then(|()| self.ring.submit()))?;
            let before = self.backlog.len();
            while let Some(entry) = self.backlog.pop_front() {
                if !self.queue(&entry) {
                    self.backlog.push_front(entry);
                    break;
                }
            }
            // Nothing moved: the backlog is empty, or the kernel accepts no more for now.
            if self.backlog.len() == before {
                return Ok(());
            }
        }
    }

    fn enable(&mut self) -> io::Result<()> {
        if !self.enabled {
            fault("enable")?;
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        Ok(())
    }

    // Waiting.

    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.enable()?;
        self.refill(); // first, because the kernel may receive in each of the calls below
        // The backlog can go only into a queue that `submit` has emptied.
        if self.sends > FEW || !self.backlog.is_empty() {
            self.submit()?;
        }
        self.sends = 0; // the wait submits the rest
        // The kernel adds this to the time of its clock. If the sum overflowed, it would not wait.
        let timeout = timeout.map(|most| Timespec::from(most.min(LONGEST)));
        let mut args = SubmitArgs::new();
        if let Some(timeout) = &timeout {
            args = args.timespec(timeout);
        }
        let submitter = self.ring.submitter();
        is_passing(fault("enter").and_then(|()| submitter.submit_with_args(1, &args)))
    }

    pub(super) fn complete(&mut self, batch: &mut Vec<Completion>) {
        for entry in self.ring.completion() {
            let result = entry.result();
            let flags = entry.flags();
            // `push` has made the number from an `Of`.
            let (Some(of), at) = Of::named(entry.user_data()) else { continue };
            let more = cqueue::more(flags);
            self.outstanding -= usize::from(!more);
            // Either kind may be taken, because no later completion names it: the kernel names a
            // receive buffer only to give it back, and a send has only one completion.
            let buffer = match (of, cqueue::buffer_select(flags)) {
                (_, Some(id)) => {
                    self.missing.push(id);
                    self.with_kernel.get_mut(usize::from(id)).map(mem::take)
                }
                (Of::Send, None) => self.sending.get_mut(at as usize).map(mem::take),
                _ => None,
            };
            let result = usize::try_from(result).map_err(|_| -result); // errors are negative
            batch.push(Completion { of, at, result, more, buffer });
        }
    }

    // Receive buffers.

    /// Keeps a buffer for later, or frees it if enough are kept, or if its length shows that the
    /// receiver made it.
    pub(super) fn put(&mut self, buffer: impl Into<Option<Vec<u8>>>) {
        if let Some(buffer) = buffer.into()
            && buffer.len() == LEN + BEHIND
            && self.spare.len() < usize::from(BUFFERS)
        {
            self.spare.push(buffer);
        }
    }

    /// Lends buffers until the kernel has `BUFFERS`. In place of one that a connection has, it gets
    /// a spare or a new one.
    fn refill(&mut self) {
        while let Some(id) = self.missing.pop() {
            let mut buffer = self.spare.pop().unwrap_or_else(|| vec![0; LEN + BEHIND]);
            let begin = buffer.as_mut_ptr() as u64;
            let at = usize::from(self.tail % BUFFERS);
            if let Some(place) = self.with_kernel.get_mut(usize::from(id)) {
                *place = buffer;
            }
            self.tail = self.tail.wrapping_add(1);
            let first = self.entries.as_ptr().cast::<BufRingEntry>().cast_mut();
            // SAFETY: `at` is below the number of entries, and the kernel reads this entry only
            // after the tail, stored below, has passed it.
            let entry = unsafe { &mut *first.add(at) };
            // The buffer has `LEN` bytes or more. It is in `with_kernel`, because `id` comes from
            // `missing` and so is below `BUFFERS`, and nobody uses it there before the kernel names
            // it.
            entry.set_addr(begin);
            entry.set_len(LEN as u32);
            entry.set_bid(id);
            // SAFETY: the tail is aligned and in the first entry, and the kernel never writes it.
            let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(first).cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
    }

    fn end_all(&mut self) -> io::Result<()> {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any().all());
        self.push(&cancel.build(), Of::Cancel, u32::MAX >> 3); // nobody reads this number
        let (times, each) = LAST_WAITS;
        for _ in 0..times {
            self.wait(Some(each))?;
            self.complete(&mut Vec::new());
            if self.outstanding == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Ring {
    /// Frees the memory if the kernel is done with it, and leaks it otherwise. For example, if one
    /// thread enabled the ring and another thread drops the ring, the memory leaks, because only
    /// the first thread can cancel the requests.
    fn drop(&mut self) {
        // Before that no request is submitted, so the kernel uses no buffer.
        let ended = if self.enabled { self.end_all() } else { Ok(()) };
        if ended.is_err() || self.enabled && self.outstanding > 0 {
            let of_kernel = (mem::take(&mut self.sending), mem::take(&mut self.with_kernel));
            mem::forget((of_kernel, mem::take(&mut self.entries)));
            return;
        }
        // Fails if `new` failed before it registered the entries, which the kernel then does not
        // know.
        let _ = self.ring.submitter().unregister_buf_ring(GROUP);
    }
}

fn is_passing(submitted: io::Result<usize>) -> io::Result<()> {
    const EINTR: i32 = 4;
    const EAGAIN: i32 = 11;
    const EBUSY: i32 = 16;
    const ETIME: i32 = 62;
    // A signal, no memory for now, too many waiting completions, and the end of the timeout.
    match submitted {
        Err(error) if !matches!(error.raw_os_error(), Some(EINTR | EAGAIN | EBUSY | ETIME)) => {
            Err(error)
        }
        _ => Ok(()),
    }
}
