/// `$wait` is the adapter's type for waiting, `$close` the call that ends a stream, and `$vectored`
/// says whether `$stream` has vectored writes.
macro_rules! output {
    ([$($generics:tt)*] $wait:ty, $close:ident, |$stream:ident| $vectored:expr) => {
        impl<$($generics)*> $crate::drive::Output for $crate::drive::Timed<S, $wait> {
            #[inline(always)]
            fn poll_write(
                &mut self,
                slices: &[IoSlice<'_>],
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<usize>> {
                let io = Pin::new(&mut self.io);
                match writable(slices) {
                    [bytes] => io.poll_write(cx, bytes),
                    slices => io.poll_write_vectored(cx, slices),
                }
            }

            fn is_write_vectored(&self) -> bool {
                let $stream = &self.io;
                $vectored
            }

            #[inline(always)]
            fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.io).poll_flush(cx)
            }

            fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.io).$close(cx)
            }
        }
    };
}
pub(crate) use output;
