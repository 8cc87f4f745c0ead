//! The polls behind the waiting calls of all adapters.
use super::{
    core::{Core, Socket, Whole},
    io::{Output, Source},
};
use crate::{
    error::{Error, Written},
    proto::{
        close::{CloseFrame, IntoClose},
        connection::{
            Closed,
            order::{SendFacts, ToSend, order_sending},
        },
        error::{RecvError, SendError},
        outbound::Outbound,
        pool,
        tape::{Note, Wait},
    },
};
use std::{
    task::{Context, Poll},
    time::Duration,
};

impl<C: Core<I>, I: Source> Socket<C, I> {
    /// Sets `recv_error`, so that the writer of a split connection sees the failure at once, and
    /// not only when this half receives again.
    pub(crate) fn fail(&mut self, frame: CloseFrame<'_>) -> Result<(), SendError> {
        self.core.with(|inbound, tx, out| {
            inbound.fail(frame, tx)?;
            out.recv_error = inbound.receiver().error().or(out.recv_error);
            Ok(())
        })
    }

    /// The connection is over once `within` has passed, or earlier. The caller has to drive it to
    /// its end.
    pub(crate) fn begin_leave<'f>(
        &mut self,
        frame: impl IntoClose<'f>,
        within: Duration,
    ) -> Result<(), SendError> {
        let by = self.io.now() + within;
        self.core.with(|_, tx, _| tx.leave(frame, by))
    }
}

impl<I: Source + Output> Socket<Whole, I> {
    /// With `enough`, stops waiting once there is room for a message. While this waits, nobody
    /// reads, so the deadlines on reading are paused; `poll_more` resumes them.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, enough: bool) -> Poll<Written> {
        loop {
            let Self { core, io, .. } = &mut *self;
            // A broken sender fails before a write: `poll_drain` returns an error only once, and
            // after a passed deadline has broken the sender, the stream may still hold unflushed
            // bytes, and nothing would bound a wait for their flush.
            let failed = core.conn.sender().is_broken();
            if order_sending(SendFacts { failed, ..SendFacts::NEW }) == ToSend::Failed {
                return Poll::Ready(core.out.lost(core.conn.sender()));
            }
            let written = core.out.poll_drain(core.conn.sender_mut(), io, cx);
            let written = written.map_err(|error| Box::new(Error::from(error)))?;
            let refused = written.is_pending();
            let has_room = refused && enough && core.conn.sender().has_room();
            let facts = SendFacts { asked: true, refused, has_room, failed: false };
            if order_sending(facts) == ToSend::Done {
                if !I::WAITS
                    && let Some(unused) = core.conn.sender_mut().unused()
                {
                    pool::give(unused); // a thread keeps its buffers: see `Io::WAITS`
                }
                return Poll::Ready(Ok(()));
            }
            core.conn.set_paused(true);
            if self.poll_alarm(cx).is_ready() {
                continue;
            }
            let wait = Wait { writable: true, flushes: true, ..Wait::default() };
            self.check(Note::Waits(Wait { yields: !self.io.keeps_waiting(), ..wait }));
            return Poll::Pending;
        }
    }

    /// After `Ready::End`. A peer that ends the stream instead of answering our Close is no error,
    /// although §5.5.1 asks for an answer.
    pub(crate) fn close_ended(&mut self) -> Result<(), Error> {
        let conn = &self.core.conn;
        // 1006: our Close was not written. `unconfirmed`: closing timed out, and the peer has not
        // ended the stream. If `dropped` is not 0, messages before our Close were lost, so the peer
        // cannot have received everything.
        let sent = |end: Closed<'_>| end.sent_code != 1006 && !end.unconfirmed;
        let all = conn.closed().is_some_and(sent) && conn.sender().dropped() == 0;
        match self.ended::<()>() {
            Err(Error::Recv(RecvError::UnexpectedEof | RecvError::CloseTimeout)) if all => Ok(()),
            done => done.map(drop),
        }
    }

    #[cfg(feature = "futures")]
    pub(crate) fn with_sender<T>(
        &mut self,
        f: impl FnOnce(&mut crate::proto::connection::Sender) -> T,
    ) -> T {
        f(self.core.conn.sender_mut())
    }

    pub(crate) fn has_room(&self) -> bool {
        let tx = self.core.conn.sender();
        tx.has_room() && !tx.is_closed()
    }

    /// See [`Out::begin_send`](super::out::Out::begin_send).
    #[inline]
    pub(crate) fn begin_send(&mut self, cx: &mut Context<'_>, message: Outbound<'_>) -> Written {
        let Self { core, io, .. } = self;
        core.out.begin_send(core.conn.sender_mut(), io, cx, message)
    }

    /// If the sender is closed, even by a failed write, the error is `Closed`, as for `feed`. After
    /// a failed write, a flush returns the reason.
    #[inline]
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Written> {
        if self.has_room() {
            return Poll::Ready(Ok(()));
        }
        if self.core.conn.sender().is_closed() {
            return Poll::Ready(Err(Error::from(SendError::Closed).into()));
        }
        self.poll_flush(cx, true)
    }
}
