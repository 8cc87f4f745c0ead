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
    /// spliced or a frame overtakes.
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
        let out = &*self.0;
        match out.splices.front() {
            Some(splice) if splice.at == out.sent => out.content(splice),
            front => out.between(out.sent, front.map_or(out.end, |s| s.at)),
        }
    }

    /// Lists the bytes in the order in which `advance` removes them: the content up to each splice,
    /// then this splice. The rest of the content comes last.
    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, dst: &mut [std::io::IoSlice<'a>]) -> usize {
        let out = &*self.0;
        let tail = (out.end, &[][..]);
        let stops = out.splices.iter().map(|s| (s.at, out.content(s))).chain([tail]);
        let mut from = out.sent;
        let mut filled = 0;
        for (at, spliced) in stops {
            for piece in [out.between(from, at), spliced] {
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
