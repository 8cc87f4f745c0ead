#[cfg(feature = "deflate")]
use tickwire::deflate::Deflate;

/// In bytes: a server writes binary payloads from here on without copying them. The default of
/// tickwire's `min_vectored`, whose docs have the reason.
pub(super) const SHARED_FROM: usize = 16 << 10;

/// Sizes and limits of a connection.
///
/// ```
/// use tickwire_tungstenite::tungstenite::protocol::WebSocketConfig;
///
/// let config = WebSocketConfig::default().write_buffer_size(0).max_message_size(Some(64 << 10));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WebSocketConfig {
    /// The size of a read, in bytes; default 16 KiB, at least 512, at most 16 MiB. The buffer grows
    /// if a message does not fit. An idle connection has no buffer if its stream does not block.
    pub read_buffer_size: usize,
    /// If more bytes than this are buffered, `write` writes them to the stream, without a flush;
    /// default 128 KiB. With 0, each message is written at once.
    pub write_buffer_size: usize,
    /// The most bytes that may be buffered; default: no limit. A message that would exceed this
    /// limit is refused with [`WriteBufferFull`](super::super::Error::WriteBufferFull), unless the
    /// message is a Pong or a Close. Set this limit above
    /// [`write_buffer_size`](Self::write_buffer_size) plus the length of your longest message.
    /// Otherwise `write` may refuse a message although the stream has room.
    pub max_write_buffer_size: usize,
    /// The longest message that is accepted from the peer, in bytes; default 64 MiB, and `None` is
    /// no limit. It also holds for a compressed message once it is decompressed.
    pub max_message_size: Option<usize>,
    /// The longest frame that is accepted from the peer, in bytes; default 16 MiB, and `None` is no
    /// limit.
    pub max_frame_size: Option<usize>,
    /// Whether a server also accepts unmasked frames, which RFC 6455 §5.1 forbids; default no.
    pub accept_unmasked_frames: bool,
    /// The settings with which the opening handshake offers or accepts permessage-deflate (RFC
    /// 7692); default none. tungstenite has no such field.
    #[cfg(feature = "deflate")]
    pub deflate: Option<Deflate>,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            // tungstenite's is 128 KiB. All other defaults are tungstenite's, because a program or
            // its peers may have chosen limits that suit them.
            read_buffer_size: 16 << 10,
            write_buffer_size: 128 << 10,
            max_write_buffer_size: usize::MAX,
            max_message_size: Some(64 << 20),
            max_frame_size: Some(16 << 20),
            accept_unmasked_frames: false,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }
}

impl WebSocketConfig {
    /// Sets the field of this name.
    pub fn read_buffer_size(mut self, bytes: usize) -> Self {
        self.read_buffer_size = bytes;
        self
    }

    /// Sets the field of this name.
    pub fn write_buffer_size(mut self, bytes: usize) -> Self {
        self.write_buffer_size = bytes;
        self
    }

    /// Sets the field of this name.
    pub fn max_write_buffer_size(mut self, bytes: usize) -> Self {
        self.max_write_buffer_size = bytes;
        self
    }

    /// Sets the field of this name.
    pub fn max_message_size(mut self, bytes: Option<usize>) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Sets the field of this name.
    pub fn max_frame_size(mut self, bytes: Option<usize>) -> Self {
        self.max_frame_size = bytes;
        self
    }

    /// Sets the field of this name.
    pub fn accept_unmasked_frames(mut self, yes: bool) -> Self {
        self.accept_unmasked_frames = yes;
        self
    }

    /// Sets the field of this name: the opening handshake offers or accepts permessage-deflate.
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.deflate = Some(deflate);
        self
    }

    /// Without the limit on the write buffer: this crate checks that itself, so that
    /// `WriteBufferFull` can hold the refused message.
    pub(crate) fn core(&self) -> tickwire::Config {
        tickwire::Config {
            read_buffer: self.read_buffer_size,
            max_message: self.max_message_size.unwrap_or(usize::MAX),
            // `None` is no limit here, but tickwire's `None` is the limit `max_message`.
            max_frame: Some(self.max_frame_size.unwrap_or(usize::MAX)),
            // As in tungstenite, without a limit of its own, because programs put long tokens into
            // URLs. The whole head has one (`max_head`).
            max_request_line: usize::MAX,
            min_vectored: SHARED_FROM, // from this length on, `write` feeds owned bytes
            high_water: usize::MAX,    // `max_write_buffer_size` takes its place
            #[cfg(feature = "deflate")]
            deflate: self.deflate,
            ..tickwire::Config::default()
        }
    }
}
