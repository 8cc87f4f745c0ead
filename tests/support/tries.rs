//! The calls that `blocking::Stream` asks of every stream, for a stream of a test that needs no
//! more than its `Read` and `Write`. [`WithoutTimeouts`](tickwire::blocking::WithoutTimeouts) has
//! them alike, but none of the others.

/// In an `impl Stream`: `try_read` and `try_write`.
macro_rules! tries {
    () => {
        fn try_read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            std::io::Read::read(self, buf)
        }
        fn try_write(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
            std::io::Write::write_vectored(self, bufs)
        }
    };
}
pub(crate) use tries;

/// In an `impl Stream`: `wait`, of a stream that cannot.
macro_rules! cannot_wait {
    () => {
        fn wait(
            &self,
            _: tickwire::blocking::Interest,
            _: Option<std::time::Duration>,
        ) -> std::io::Result<()> {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    };
}
pub(crate) use cannot_wait;
