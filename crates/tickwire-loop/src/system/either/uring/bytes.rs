use super::{COPIES, MOST_FILLED, PIECES, Place, SHORT, Stream, Uring, fault, ring::Of};
use bytes::{Buf, BufMut};
use rustix::{
    io::{Errno, ioctl_fionread},
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use std::{
    io::{self, ErrorKind, IoSlice},
    mem,
    net::Shutdown,
};
use tickwire::Receiver;

const ECANCELED: i32 = 125;

impl Uring {
    // Completions.

    pub(super) fn received(
        &mut self,
        at: u32,
        result: Result<usize, i32>,
        buffer: Option<Vec<u8>>,
    ) -> bool {
        const ENOBUFS: i32 = 105;
        let Some(place) = self.places.get_mut(at as usize) else { return false };
        match (result, buffer) {
            (Ok(n @ 1..), Some(buffer)) if !place.closed => {
                self.ring.put(place.received.push(buffer, n));
                // One request receives again and again, until it is cancelled. After its last
                // completion (`is_asked` is `false`), nothing is left to cancel.
                if place.received.bytes() > MOST_FILLED
                    && place.is_asked(Of::Receive)
                    && !mem::replace(&mut place.stopping, true)
                {
                    self.cancel(at, Of::Receive);
                }
            }
            (Ok(1..), buffer) => self.ring.put(buffer), // the owner is gone
            // The stream has not ended: there was no free buffer, or receiving was cancelled.
            (Err(ENOBUFS | ECANCELED), _) => return false,
            (Ok(0), _) => place.end = Some(0),
            (Err(code), _) => place.end = Some(code),
        }
        true
    }

    pub(super) fn sent(
        &mut self,
        at: u32,
        result: Result<usize, i32>,
        buffer: Option<Vec<u8>>,
    ) -> bool {
        let mut buffer = buffer.unwrap_or_default(); // a send always has a buffer
        let Some(place) = self.places.get_mut(at as usize) else { return false };
        let part = match result {
            Ok(n @ 1..) if n < buffer.len() => Some(n),
            Err(ECANCELED) => Some(0), // `can_ask` has cancelled it, so it begins again
            _ => None,
        };
        if let Some(n) = part.filter(|_| !place.closed) {
            buffer.drain(..n);
            let fd = place.ask(Of::Send);
            match self.ring.send(at, fd, buffer) {
                None => return false,
                Some(refused) => buffer = refused, // not reached: the last send is complete
            }
        }
        match result {
            Ok(1..) => {} // all is sent, or the owner is gone
            // The kernel accepted none of the bytes, so they would never leave.
            Ok(0) => place.failed = Some(Errno::PIPE.raw_os_error()),
            Err(code) => place.failed = Some(code),
        }
        self.copies -= 1;
        self.outputs.push(buffer);
        // A shutdown or a close that has waited for this send. If it fails, the stream is down
        // already.
        if (place.shuts || place.closed)
            && let Ok(tcp) = place.tcp()
        {
            let _ = tcp.shutdown(if place.closed { Shutdown::Both } else { Shutdown::Write });
        }
        mem::take(&mut place.blocked) || place.failed.is_some()
    }

    // Bytes.

    pub(crate) fn unread(&mut self, stream: &Stream) -> u32 {
        let Ok(place) = self.place(stream.0) else { return 0 };
        let counted = fault("unread").and_then(|()| Ok(ioctl_fionread(place.tcp()?)?));
        let in_kernel = counted.unwrap_or_default(); // 0 if it fails: a passed deadline is believed
        (place.received.bytes() as u64 + in_kernel) as u32
    }

    pub(crate) fn read(&mut self, stream: &mut Stream, to: &mut [u8]) -> io::Result<(usize, bool)> {
        fault("read")?;
        match self.place(stream.0)?.received.read(to) {
            (0, None) => self.end_of(stream.0),
            (n, emptied) => {
                self.ring.put(emptied);
                Ok((n, self.took(stream.0)))
            }
        }
    }

    /// The next buffer that the kernel filled is lent to the receiver. 0 at the end of the stream,
    /// which the caller reports.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        stream: &mut Stream,
        to: &mut Receiver,
        _most: usize,
    ) -> io::Result<(usize, bool)> {
        fault("read")?;
        let Some((buffer, n)) = self.place(stream.0)?.received.pop() else {
            return self.end_of(stream.0);
        };
        self.ring.put(to.lend_filled(buffer, n)); // the buffer that the receiver gave back
        Ok((n, self.took(stream.0)))
    }

    /// 0 if the stream has ended, `WouldBlock` if there are no bytes yet. A failed stream returns
    /// its error once, and 0 from then on.
    fn end_of(&mut self, at: u32) -> io::Result<(usize, bool)> {
        let end = &mut self.place(at)?.end;
        match *end {
            Some(0) => Ok((0, true)),
            Some(code) => {
                *end = Some(0); // the error is told once
                Err(io::Error::from_raw_os_error(code))
            }
            None => {
                self.go_on(at);
                Err(ErrorKind::WouldBlock.into())
            }
        }
    }

    fn took(&mut self, at: u32) -> bool {
        self.go_on(at);
        self.place(at).is_ok_and(|place| place.received.bytes() == 0 && place.end.is_none())
    }

    /// Writes as much as the stream accepts. Short output is copied, and until the next wait has
    /// sent it, the stream accepts no more.
    #[inline]
    pub(crate) fn write(&mut self, stream: &mut Stream, out: &mut impl Buf) -> io::Result<()> {
        while out.has_remaining() {
            match self.write_some(stream.0, out) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                wrote => wrote?,
            }
        }
        Ok(())
    }

    fn write_some(&mut self, at: u32, out: &mut impl Buf) -> io::Result<()> {
        fault("write")?;
        let copies = self.copies; // read first, because `place` borrows `self`
        let asks = mem::take(&mut self.place(at)?.asks);
        let place = self.writable(at, asks)?;
        // A copy would ask nothing: the kernel takes it whether or not the stream has room.
        if out.remaining() > SHORT || copies >= COPIES || asks {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let several = out.chunks_vectored(&mut pieces);
            let n = self.send_now(at, pieces.get(..several).unwrap_or_default())?;
            out.advance(n);
            return Ok(());
        }
        let fd = place.ask(Of::Send);
        let mut buffer = self.outputs.pop().unwrap_or_else(|| Vec::with_capacity(SHORT));
        buffer.clear(); // it still has the bytes that were sent from it
        buffer.put(out);
        self.copies += 1;
        match self.ring.send(at, fd, buffer) {
            None => Ok(()),
            Some(_) => Err(ErrorKind::InvalidInput.into()), // not reached: see `writable`
        }
    }

    /// If a send may begin: two at once might swap their bytes. With `asks`, also before the kernel
    /// has reported room.
    pub(super) fn writable(&mut self, at: u32, asks: bool) -> io::Result<&mut Place> {
        let place = self.place(at)?;
        if let Some(code) = place.failed {
            return Err(io::Error::from_raw_os_error(code));
        }
        if place.is_asked(Of::Send) || (place.is_asked(Of::Writable) && !asks) {
            place.blocked = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(place)
    }

    fn send_now(&mut self, at: u32, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let place = self.place(at)?;
        // DONTWAIT, because `tcp` is in blocking mode; NOSIGNAL, because a broken stream would
        // raise SIGPIPE.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(place.tcp()?, pieces, &mut SendAncillaryBuffer::default(), flags) {
            Ok(0) => Err(ErrorKind::WriteZero.into()), // the loop in `write` would never end
            Ok(n) => Ok(n),
            Err(error) => {
                // Unlike mio, the ring reports room only if it is asked.
                if error == Errno::AGAIN {
                    place.blocked = true;
                    self.ask(at, Of::Writable);
                }
                Err(error.into())
            }
        }
    }

    /// Shuts the stream for writing. While a send is under way, this is `WouldBlock`, and the
    /// stream is shut when the send is complete.
    pub(crate) fn shut_down(&mut self, stream: &mut Stream) -> io::Result<()> {
        fault("shut_down")?;
        let place = self.place(stream.0)?;
        if place.is_asked(Of::Send) {
            place.shuts = true;
            place.blocked = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        place.tcp()?.shutdown(Shutdown::Write)
    }

    /// If a send is under way, the bytes for which the operating system has room are still sent.
    pub(crate) fn close(&mut self, stream: Stream) {
        let Ok(place) = self.place(stream.0) else { return };
        place.closed = true;
        if place.is_asked(Of::Send) {
            self.cancel(stream.0, Of::Send); // the kernel first tries to send, then cancels
        } else if place.requests > 0
            && let Ok(tcp) = place.tcp()
        {
            // Ends the requests. If it fails, the stream is down, and they end anyway.
            let _ = tcp.shutdown(Shutdown::Both);
        }
        while let Some((buffer, _)) = self.place(stream.0).ok().and_then(|at| at.received.pop()) {
            self.ring.put(buffer);
        }
        self.settle(stream.0);
    }
}
