//! The bytes of streams: what completions say of them, and the calls of the loop.
use super::{COPIES, Held, MOST_FILLED, PIECES, Place, SHORT, Stream, Uring, ring::Of};
use bytes::{Buf, BufMut};
use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use std::{
    io::{self, ErrorKind, IoSlice, Read},
    mem,
    net::Shutdown,
};
use tickwire::{Arrival, Outgoing, Receiver};

impl Uring {
    // Completions.

    /// Keeps what was received. Returns whether there is something to read.
    pub(super) fn received(
        &mut self,
        at: u32,
        result: Result<usize, i32>,
        buffer: Option<Vec<u8>>,
    ) -> bool {
        const ENOBUFS: i32 = 105;
        const ECANCELED: i32 = 125;
        let Some(place) = self.places.get_mut(at as usize) else { return false };
        match (result, buffer) {
            (Ok(n @ 1..), Some(buffer)) if !place.closed => {
                self.ring.put(place.received.push(buffer, n));
                if place.received.bytes() > MOST_FILLED
                    && place.is_asked(Of::Receive)
                    && !mem::replace(&mut place.stopping, true)
                {
                    self.cancel(at, Of::Receive);
                }
            }
            (Ok(1..), buffer) => self.ring.put(buffer),
            // It goes on: there was no buffer, or it was stopped.
            (Err(ENOBUFS | ECANCELED), _) => return false,
            (Ok(0), _) => place.end = Some(0),
            (Err(code), _) => place.end = Some(code),
        }
        true
    }

    /// Goes on after a send. Returns whether the owner wants to know.
    pub(super) fn sent(
        &mut self,
        at: u32,
        result: Result<usize, i32>,
        buffer: Option<Vec<u8>>,
    ) -> bool {
        let mut buffer = buffer.unwrap_or_default();
        let Some(place) = self.places.get_mut(at as usize) else { return false };
        match result {
            Ok(n @ 1..) if n < buffer.len() && !place.closed => {
                buffer.drain(..n);
                place.ask(Of::Send);
                match self.ring.send(at, place.fd, buffer) {
                    None => return false,
                    Some(refused) => buffer = refused, // the one that was under way is done
                }
            }
            Ok(1..) => {}
            Ok(0) => place.failed = Some(Errno::PIPE.raw_os_error()),
            Err(code) => place.failed = Some(code),
        }
        self.copies -= 1;
        if self.outputs.len() < COPIES {
            self.outputs.push(buffer);
        }
        if (place.shuts || place.closed)
            && let Ok(tcp) = place.tcp()
        {
            let _ = tcp.shutdown(if place.closed { Shutdown::Both } else { Shutdown::Write });
        }
        mem::take(&mut place.blocked) || place.failed.is_some()
    }

    // Bytes.

    /// Reads into a slice: bytes of TLS, and of opening handshakes. Returns the number of bytes,
    /// and whether the stream has no more for now.
    pub(crate) fn read(&mut self, stream: &mut Stream, to: &mut [u8]) -> io::Result<(usize, bool)> {
        self.fault("read")?;
        if let Held::Stamped(tcp) = &mut self.place(stream.0)?.held {
            let read = tcp.read(to);
            return self.read_by_itself(stream.0, read);
        }
        match self.place(stream.0)?.received.read(to) {
            (0, None) => self.end_of(stream.0),
            (n, emptied) => {
                self.ring.put(emptied);
                Ok((n, self.took(stream.0)))
            }
        }
    }

    /// When the bytes of the last read arrived, if the stream tells.
    pub(crate) fn arrived(&self, stream: &Stream) -> Option<Arrival> {
        match &self.places.get(stream.0 as usize)?.held {
            Held::Stamped(tcp) => tcp.arrived(),
            _ => None,
        }
    }

    /// Lends a connection's receiver the next buffer that the kernel filled. At the end of the
    /// stream it returns 0, and the caller reports it.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        stream: &mut Stream,
        to: &mut Receiver,
    ) -> io::Result<(usize, bool)> {
        self.fault("read")?;
        if let Held::Stamped(tcp) = &mut self.place(stream.0)?.held {
            let read = tcp.read(to.spare_mut());
            let (n, drained) = self.read_by_itself(stream.0, read)?;
            to.commit(n);
            return Ok((n, drained));
        }
        let Some((buffer, n)) = self.place(stream.0)?.received.pop() else {
            return self.end_of(stream.0);
        };
        self.ring.put(to.lend_filled(buffer, n));
        Ok((n, self.took(stream.0)))
    }

    /// The end of a stream, its error once, or nothing yet.
    fn end_of(&mut self, at: u32) -> io::Result<(usize, bool)> {
        let end = &mut self.place(at)?.end;
        match *end {
            Some(0) => Ok((0, true)),
            Some(code) => {
                *end = Some(0);
                Err(io::Error::from_raw_os_error(code))
            }
            None => {
                self.go_on(at);
                Err(ErrorKind::WouldBlock.into())
            }
        }
    }

    /// Goes on receiving after a part was read. Returns whether there is nothing more to read.
    fn took(&mut self, at: u32) -> bool {
        self.go_on(at);
        self.place(at).is_ok_and(|place| place.received.bytes() == 0 && place.end.is_none())
    }

    /// After a read of a stream that reads by itself.
    fn read_by_itself(&mut self, at: u32, read: io::Result<usize>) -> io::Result<(usize, bool)> {
        if read.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            self.go_on(at);
        }
        read.map(|n| (n, false))
    }

    /// Writes as much as the stream takes, and advances `out`. What is short is only copied: until
    /// it is sent, nothing more is taken.
    #[inline]
    pub(crate) fn write(&mut self, stream: &mut Stream, out: &mut Outgoing<'_>) -> io::Result<()> {
        while out.has_remaining() {
            match self.write_some(stream.0, out) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                wrote => wrote?,
            }
        }
        Ok(())
    }

    fn write_some(&mut self, at: u32, out: &mut Outgoing<'_>) -> io::Result<()> {
        self.fault("write")?;
        let copies = self.copies;
        let place = self.writable(at)?;
        if out.remaining() > SHORT || copies >= COPIES || !matches!(place.held, Held::Plain(_)) {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let several = out.chunks_vectored(&mut pieces);
            let n = self.send_now(at, pieces.get(..several).unwrap_or_default())?;
            out.advance(n);
            return Ok(());
        }
        place.ask(Of::Send);
        let fd = place.fd;
        let mut buffer = self.outputs.pop().unwrap_or_else(|| Vec::with_capacity(SHORT));
        buffer.clear();
        buffer.put(out);
        self.copies += 1;
        match self.ring.send(at, fd, buffer) {
            None => Ok(()),
            Some(_) => Err(ErrorKind::InvalidInput.into()), // `writable` said that none is under way
        }
    }

    /// Writes one slice: records of TLS, and texts of opening handshakes.
    pub(crate) fn write_slice(&mut self, stream: &mut Stream, from: &[u8]) -> io::Result<usize> {
        self.fault("write")?;
        self.writable(stream.0)?;
        self.send_now(stream.0, &[IoSlice::new(from)])
    }

    /// The place of a stream that nothing is being sent on.
    fn writable(&mut self, at: u32) -> io::Result<&mut Place> {
        let place = self.place(at)?;
        if let Some(code) = place.failed {
            return Err(io::Error::from_raw_os_error(code));
        }
        if place.is_asked(Of::Send) || place.is_asked(Of::Writable) {
            place.blocked = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(place)
    }

    fn send_now(&mut self, at: u32, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let place = self.place(at)?;
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(place.tcp()?, pieces, &mut SendAncillaryBuffer::default(), flags) {
            Ok(0) if pieces.iter().any(|piece| !piece.is_empty()) => {
                Err(ErrorKind::WriteZero.into())
            }
            Ok(n) => Ok(n),
            Err(error) => {
                if error == Errno::AGAIN {
                    place.blocked = true;
                    self.ask(at, Of::Writable);
                }
                Err(error.into())
            }
        }
    }

    /// Shuts the stream for writing. While something is being sent, it says `WouldBlock`, and the
    /// stream is shut after that.
    pub(crate) fn shut_down(&mut self, stream: &mut Stream) -> io::Result<()> {
        self.fault("shut_down")?;
        let place = self.place(stream.0)?;
        if place.is_asked(Of::Send) {
            (place.shuts, place.blocked) = (true, true);
            return Err(ErrorKind::WouldBlock.into());
        }
        place.tcp()?.shutdown(Shutdown::Write)
    }

    /// Closes a stream. What the system has room for of a send under way is still sent.
    pub(crate) fn close(&mut self, stream: Stream) {
        let Ok(place) = self.place(stream.0) else { return };
        place.closed = true;
        if place.is_asked(Of::Send) {
            self.cancel(stream.0, Of::Send); // it comes behind the send, which has had its try
        } else if place.requests > 0
            && let Ok(tcp) = place.tcp()
        {
            let _ = tcp.shutdown(Shutdown::Both); // this ends what is asked for
        }
        while let Some((buffer, _)) = self.place(stream.0).ok().and_then(|at| at.received.pop()) {
            self.ring.put(buffer);
        }
        self.settle(stream.0);
    }
}
