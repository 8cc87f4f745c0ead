//! The buffer from the writer's point of view.
use super::OutBuffer;
use bytes::Buf;

/// The bytes to write next, as a [`Buf`]: write what `chunk` or `chunks_vectored` gives, then
/// `advance` by what the stream took, at once.
///
/// `advance` panics when told of more bytes than there are.
#[derive(Debug)]
pub struct Outgoing<'a>(pub(crate) &'a mut OutBuffer);

impl Outgoing<'_> {
    /// All of it, if it is one slice, for a plain write. It is unless a payload is shared or a control
    /// frame overtakes.
    #[inline]
    pub(crate) fn single(&self) -> Option<&[u8]> {
        let out = &*self.0;
        out.splices.is_empty().then(|| out.between(out.sent, out.end))
    }
}

impl Buf for Outgoing<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.0.chunk(&[])
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, dst: &mut [std::io::IoSlice<'a>]) -> usize {
        self.0.chunks_vectored(&[], dst)
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        self.0.advance(n);
    }
}

/// The same where a payload was [borrowed](OutBuffer::borrow), by its owner, who lends it. What is not
/// written of it when this is dropped is copied then.
pub(crate) struct Lending<'a> {
    out: &'a mut OutBuffer,
    payload: &'a [u8],
}

impl<'a> Lending<'a> {
    /// `payload` is all of it, and nothing of it was written.
    pub(crate) fn new(out: &'a mut OutBuffer, payload: &'a [u8]) -> Self {
        debug_assert_eq!(out.borrowed, payload.len());
        Self { out, payload }
    }

    /// Whether some of the payload is left to write.
    pub(crate) fn is_needed(&self) -> bool {
        self.out.borrowed > 0
    }

    fn left(&self) -> &'a [u8] {
        let written = self.payload.len() - self.out.borrowed;
        self.payload.get(written..).unwrap_or_default()
    }
}

impl Drop for Lending<'_> {
    fn drop(&mut self) {
        if self.is_needed() {
            let left = self.left();
            self.out.keep(left);
        }
    }
}

impl Buf for Lending<'_> {
    fn remaining(&self) -> usize {
        self.out.len()
    }

    fn chunk(&self) -> &[u8] {
        self.out.chunk(self.left())
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, dst: &mut [std::io::IoSlice<'a>]) -> usize {
        self.out.chunks_vectored(self.left(), dst)
    }

    fn advance(&mut self, n: usize) {
        self.out.advance(n);
    }
}

/// `lent` is what is left of a payload that was borrowed.
impl OutBuffer {
    #[inline]
    fn chunk<'a>(&'a self, lent: &'a [u8]) -> &'a [u8] {
        match self.splices.front() {
            Some(splice) if splice.at == self.sent => self.content(splice, lent),
            front => self.between(self.sent, front.map_or(self.end, |s| s.at)),
        }
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, lent: &'a [u8], dst: &mut [std::io::IoSlice<'a>]) -> usize {
        let tail = (self.end, &[][..]);
        let stops = self.splices.iter().map(|s| (s.at, self.content(s, lent))).chain([tail]);
        let (mut from, mut filled) = (self.sent, 0);
        for (at, spliced) in stops {
            for piece in [self.between(from, at), spliced] {
                if piece.is_empty() {
                    continue;
                }
                let Some(slot) = dst.get_mut(filled) else {
                    return filled;
                };
                *slot = std::io::IoSlice::new(piece);
                filled += 1;
            }
            from = at;
        }
        filled
    }
}
