//! Bytes of one direction, frame by frame, and what becomes of them on the stream between the ends.

/// The first bytes of frames.
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
/// Of an opcode that is reserved.
pub(crate) const BAD: u8 = 0x83;

/// A frame that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) b0: u8,
    pub(crate) start: usize,
    /// Unknown until its header is there.
    pub(crate) end: Option<usize>,
}

impl Frame {
    pub(crate) fn is_data(&self) -> bool {
        self.b0 & 8 == 0
    }
}

/// All that an end ever wrote, or read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: Vec<Frame>,
}

/// How long the frame at the front of `bytes` is, if its header is there. All are short.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let masked = bytes.get(1)? & 0x80 != 0;
    Some(2 + if masked { 4 } else { 0 } + usize::from(bytes[1] & 0x7f))
}

impl Wire {
    /// How many bytes of the frame under way, or of the next one, which begins with `more`, are
    /// still to come; and whether it has begun.
    pub(crate) fn next(&self, more: &[u8]) -> (usize, bool) {
        let at = self.bytes.len();
        match self.frames.last() {
            Some(Frame { end: Some(end), .. }) if *end > at => (end - at, true),
            Some(Frame { end: None, start, .. }) => {
                let whole = [&self.bytes[*start..], more].concat();
                (frame_len(&whole).unwrap_or(whole.len()) - (at - start), true)
            }
            _ => (frame_len(more).unwrap_or(more.len()), false),
        }
    }

    /// Whether the last frame is whole.
    pub(crate) fn at_boundary(&self) -> bool {
        self.frames.last().is_none_or(|frame| frame.end == Some(self.bytes.len()))
    }

    /// Adds what follows.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.at_boundary() {
                self.frames.push(Frame { b0: bytes[0], start: self.bytes.len(), end: None });
            }
            let (piece, rest) = bytes.split_at(self.next(bytes).0.min(bytes.len()));
            self.bytes.extend(piece);
            if let Some(frame) = self.frames.last_mut() {
                frame.end = frame_len(&self.bytes[frame.start..]).map(|len| frame.start + len);
            }
            bytes = rest;
        }
    }

    /// The frames of which the last byte is here.
    pub(crate) fn whole(&self) -> impl DoubleEndedIterator<Item = &Frame> {
        self.frames.iter().filter(|f| f.end.is_some_and(|end| end <= self.bytes.len()))
    }

    /// Those of them that are of messages.
    pub(crate) fn data(&self) -> impl DoubleEndedIterator<Item = &Frame> {
        self.whole().filter(|f| f.is_data() && f.b0 != BAD)
    }

    /// The payload of a whole frame, unmasked.
    pub(crate) fn payload(&self, frame: &Frame) -> Vec<u8> {
        let bytes = &self.bytes[frame.start..frame.end.unwrap_or(self.bytes.len())];
        match bytes[1] & 0x80 {
            0 => bytes[2..].to_vec(),
            _ => (bytes[6..].iter().zip(bytes[2..6].iter().cycle())).map(|(b, k)| b ^ k).collect(),
        }
    }

    /// The messages that the frames make.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let (mut whole, mut message) = (Vec::new(), Vec::new());
        for frame in self.data() {
            message.extend(self.payload(frame));
            if frame.b0 & 0x80 != 0 {
                whole.push(std::mem::take(&mut message));
            }
        }
        whole
    }
}

/// What becomes of bytes written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    Flowing,
    /// The writer sends no more; the reader gets what is here, then the end.
    Ended,
    /// What was not read is lost, and the reader is told that the stream has ended.
    Cut,
    /// What was not read is lost, and the reader is told nothing.
    Black,
}

/// One direction of the stream: how far what was written is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    pub(crate) read: usize,
    pub(crate) mode: Mode,
}

impl Stream {
    pub(crate) const NEW: Self = Self { read: 0, mode: Mode::Flowing };

    /// How many bytes can be read.
    pub(crate) fn here(self, written: &Wire) -> usize {
        match self.mode {
            Mode::Flowing | Mode::Ended => written.bytes.len() - self.read,
            Mode::Cut | Mode::Black => 0,
        }
    }

    /// How many of those belong to the frame at which the reader is, and whether it has begun that.
    pub(crate) fn next(self, written: &Wire) -> (usize, bool) {
        let frame = written.frames.iter().find(|f| f.end.is_none_or(|end| end > self.read));
        let end = frame.and_then(|frame| frame.end).unwrap_or(written.bytes.len());
        let begun = frame.is_some_and(|frame| frame.start < self.read);
        ((end - self.read).min(self.here(written)), begun)
    }

    /// Whether the reader is told that there is no more.
    pub(crate) fn has_ended(self, written: &Wire) -> bool {
        self.here(written) == 0 && matches!(self.mode, Mode::Ended | Mode::Cut)
    }

    /// The writer stops.
    pub(crate) fn end(&mut self) {
        if self.mode == Mode::Flowing {
            self.mode = Mode::Ended;
        }
    }
}
