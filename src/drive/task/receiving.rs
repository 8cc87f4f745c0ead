//! The receiving calls of a whole connection and of a reader, in the adapters for tasks.

macro_rules! recv {
    () => {
        /// Returns the next message, or `None` once the peer's Close was received and answered.
        /// (With [`auto_close`](crate::Config::auto_close) off, the Close may be unanswered.)
        ///
        /// The message is borrowed from the connection, and lives until the next call. Once all
        /// bytes that were read are processed, this call writes the queued replies and, on a whole
        /// WebSocket, the messages that were fed.
        ///
        /// After both Closes, this call also waits, for at most a second, until both ends end the
        /// stream. To skip this wait, use [`recv_event`](Self::recv_event). On
        /// [`Event::Close`](crate::Event::Close), read the code from [`closed`](Self::closed), call
        /// `flush` (of the `Writer`, after a split) to send the answer, and drop the stream.
        ///
        /// Cancel safe: if you drop the future, the next receiving call returns the message.
        ///
        /// # Errors
        ///
        /// [`Error::Recv`] for a fault of the peer or the network, or a passed deadline.
        /// [`Error::Io`] if the stream fails, or `Error::Tls` if TLS fails. All messages that
        /// arrived before the error are delivered first. After a violation by the peer, this call
        /// sends a Close, unless a Close was sent before. Then this call ends the stream within a
        /// few seconds, and returns the error. If you drop the future meanwhile,
        /// [`closed`](Self::closed) already has the error. Later calls fail too. Keep the first
        /// error, because later calls do not repeat the error of the stream.
        #[inline]
        pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message<'_>>, Error>> {
            Recv(Some(&mut self.0))
        }
    };
}
pub(crate) use recv;

macro_rules! receiving {
    () => {
        /// Like [`recv`](Self::recv), but with facts about the message besides its payload. For
        /// example, [`more`](crate::Info::more) tells whether another whole message was already
        /// read, so that you can act only on the newest message.
        ///
        /// Cancel safe, as [`recv`](Self::recv).
        ///
        /// # Errors
        ///
        /// The errors of [`recv`](Self::recv).
        pub async fn recv_with_info(&mut self) -> Result<Option<(Message<'_>, Info)>, Error> {
            let ready = poll_fn(|cx| self.0.poll_message(cx)).await;
            self.0.take(ready, |rx| rx.message().map(|message| (message, rx.info())))
        }

        /// Returns the next message or control frame, or `None` after the peer's Close. Use this
        /// call in proxies, which forward control frames, and when
        /// [`auto_pong`](crate::Config::auto_pong) or [`auto_close`](crate::Config::auto_close) is
        /// off.
        ///
        /// Cancel safe, as [`recv`](Self::recv).
        ///
        /// # Errors
        ///
        /// The errors of [`recv`](Self::recv).
        pub async fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
            let ready = poll_fn(|cx| self.0.poll_more(cx, Want::Event)).await;
            self.0.take(ready, |rx| rx.event())
        }

        /// Returns the next chunk of a message as soon as the chunk has arrived. Use this call for
        /// messages that are too large for memory.
        /// [`Connection::step_chunk`](crate::Connection::step_chunk) says which limits apply. A
        /// call of [`recv`](Self::recv) in the middle of a message skips the rest of that message.
        /// If the peer closes in the middle of a message, no chunk of that message has `last` set,
        /// and [`Closed::cut`](crate::Closed::cut) is set.
        ///
        /// Cancel safe, as [`recv`](Self::recv).
        ///
        /// # Errors
        ///
        /// The errors of [`recv`](Self::recv).
        pub async fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
            let ready = poll_fn(|cx| self.0.poll_more(cx, Want::Chunk)).await;
            self.0.take(ready, |rx| rx.chunk())
        }

        /// Like [`recv`](Self::recv), but returns a message that the caller can keep: see
        /// [`Receiver::take_message`](crate::Receiver::take_message).
        ///
        /// Cancel safe, as [`recv`](Self::recv).
        ///
        /// # Errors
        ///
        /// The errors of [`recv`](Self::recv).
        pub async fn recv_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
            let ready = poll_fn(|cx| self.0.poll_message(cx)).await;
            self.0.take(ready, Receiver::take_message)
        }

        /// Leaves the peer within the time `within`, whatever the peer does. For a peer that may be
        /// dead, for example when your own check finds a stale feed: `close` would wait up to
        /// [`close_timeout`](crate::Config::close_timeout) for its answer.
        ///
        /// Our Close goes out at once. Fed messages that have not begun to leave are dropped, as by
        /// [`Sender::abort`](crate::Sender::abort), also after `close`: that Close keeps its code,
        /// and moves forward. The closing handshake goes on as usual, and input is discarded. When
        /// it has ended, or `within` has passed, drop the connection together with the stream.
        ///
        /// | afterwards | |
        /// |---|---|
        /// | did the peer answer? | `clean` of [`closed`](Self::closed) |
        /// | which messages may it have? | [`Sender::is_written`](crate::Sender::is_written) |
        /// | later receiving calls | `None`, or the error that ended the connection: [`CloseTimeout`](crate::RecvError::CloseTimeout) if `within` passed before our Close was written, or before the peer's Close came |
        /// | the `Writer`, after `leave` of a `Reader` | can send nothing more |
        ///
        /// With a `within` of zero this call writes the bytes that the stream accepts, and returns.
        /// (If the stream accepts nothing, it tries again about 1 ms later.)
        ///
        /// Cancel safe: `within` counts from the first call. If you drop the future, any later
        /// receiving call goes on with the closing handshake, and ends it in time.
        ///
        /// # Errors
        ///
        /// [`Error::Send`] for a frame that cannot be sent: then nothing has changed. A failed
        /// closing handshake is no error here.
        pub async fn leave<'f>(
            &mut self,
            frame: impl IntoClose<'f>,
            within: Duration,
        ) -> Result<(), Error> {
            self.0.begin_leave(frame, within)?;
            self.0.leave().await;
            Ok(())
        }

        /// Polls [`recv`](Self::recv). Use this call in a `Future` or a `Stream` of your own.
        ///
        /// All state is in the connection, so a poll loses nothing, and you may make any other
        /// receiving call next. On a whole WebSocket, the first poll that finds no whole message in
        /// the buffer allocates memory for the wakers.
        ///
        /// # Who may poll
        ///
        /// One task polls the receiving side, by this call or as a `Stream`. The same task or one
        /// other task polls the sending side as a `Sink` (feature `futures`). Each side wakes only
        /// the task that polled it last. After [`Sender::close`](crate::Sender::close), the
        /// deadline on the peer's Close starts at the latest when the receiving side is polled
        /// next. So that this happens soon, the next poll of the sending side wakes the receiving
        /// task.
        ///
        /// All other calls that wait are for a WebSocket that one task drives. Every future of a
        /// whole WebSocket, such as the future of [`recv`](Self::recv), replaces the wakers of both
        /// sides. So a second task might never wake up. After `into_split`, each half belongs to
        /// one task, which may make any call of its half. You need no lock of your own.
        ///
        /// # Errors
        ///
        /// The errors of [`recv`](Self::recv).
        pub fn poll_recv(
            &mut self,
            cx: &mut Context<'_>,
        ) -> Poll<Result<Option<Message<'_>>, Error>> {
            let ready = ready!(self.0.poll_item(cx, Want::Message));
            Poll::Ready(self.0.take(ready, |rx| rx.message()))
        }
    };
}
pub(crate) use receiving;
