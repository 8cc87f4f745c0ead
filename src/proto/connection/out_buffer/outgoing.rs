//! The outgoing buffer as the writer sees it: a [`Buf`].
use super::OutBuffer;
use bytes::Buf;

/// The bytes to write next, as a [`Buf`]. Write the bytes of `chunk` or `chunks_vectored`, then
/// `advance` by the number of bytes written.
///
/// `advance` panics if its argument exceeds `remaining`.
#[derive(Debug)]
pub struct Outgoing<'a>(pub(crate) &'a mut OutBuffer);

impl Outgoing<'_> {
    /// All outgoing bytes in one slice, for a write that is not vectored. `None` if a payload is
    /// spliced, a frame overtakes, or one write may not have all bytes.
    #[inline]
    pub(crate) fn single(&self) -> Option<&[u8]> {
        let out = &*self.0;
        let bytes = out.between(out.sent, out.end);
        (out.splices.is_empty() && bytes.len() <= out.longest_write).then_some(bytes)
    }

    #[cold]
    #[inline(never)] // keeps `chunk` short
    fn first(&self) -> &[u8] {
        let out = &*self.0;
        let first = match out.splices.front() {
            Some(splice) if splice.at == out.sent => out.content(splice),
            front => out.between(out.sent, front.map_or(out.end, |s| s.at)),
        };
        first.get(..out.longest_write).unwrap_or(first)
    }
}

impl Buf for Outgoing<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.single().unwrap_or_else(|| self.first())
    }

    /// Lists the bytes in the order in which `advance` removes them: the content up to each splice,
    /// then this splice. The rest of the content comes last. Stops at `longest_write` bytes.
    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, dst: &mut [std::io::IoSlice<'a>]) -> usize {
        let out = &*self.0;
        let tail = (out.end, &[][..]);
        let stops = out.splices.iter().map(|s| (s.at, out.content(s))).chain([tail]);
        let mut from = out.sent;
        let mut filled = 0;
        let mut left = out.longest_write;
        for (at, spliced) in stops {
            for piece in [out.between(from, at), spliced] {
                let piece = piece.get(..left).unwrap_or(piece);
                left -= piece.len();
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

    #[inline]
    fn advance(&mut self, n: usize) {
        self.0.advance(n);
    }
}
