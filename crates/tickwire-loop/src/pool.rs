//! Connections take buffers for their turns; one that waits has none.
use tickwire::Connection;

/// In the list of a pool, in bytes.
const MOST: usize = 4 << 20;

#[derive(Default)]
pub(crate) struct Buffers {
    pub(crate) inputs: Pool,
    pub(crate) outputs: Pool,
}

impl Buffers {
    #[inline]
    pub(crate) fn keep(&mut self, conn: &mut Connection) {
        self.inputs.give(conn.receiver_mut().reclaim());
        self.outputs.give(conn.sender_mut().reclaim());
    }
}

/// A stack: the buffer that was given back last is still in the processor's cache.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Given back last. Most turns use only this one.
    last: Option<Vec<u8>>,
    free: Vec<Vec<u8>>,
    /// Of all in `free`, in bytes of capacity.
    bytes: usize,
}

impl Pool {
    /// Empty if there is none: then the connection allocates one itself.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.last.take().unwrap_or_else(|| self.take_from_list())
    }

    /// A buffer shorter than 4 KiB comes from a handshake, and is freed.
    #[inline]
    pub(crate) fn give(&mut self, buffer: Vec<u8>) {
        if buffer.len() >= 4 << 10
            && let Some(before) = self.last.replace(buffer)
        {
            self.give_to_list(before);
        }
    }

    /// For a connection that wants `len` bytes: half of that is long enough, and with much more it
    /// would hold more than it reads. Empty if there is none: then the connection allocates one
    /// itself.
    #[inline]
    pub(crate) fn take_for(&mut self, len: usize) -> Vec<u8> {
        self.last.take_if(|last| suits(last, len)).unwrap_or_else(|| self.find(len))
    }

    #[cold]
    fn find(&mut self, len: usize) -> Vec<u8> {
        let found = self.free.iter().rposition(|buffer| suits(buffer, len));
        found.map_or_else(Vec::new, |at| {
            let buffer = self.free.remove(at);
            self.bytes -= buffer.capacity();
            buffer
        })
    }

    fn take_from_list(&mut self) -> Vec<u8> {
        let buffer = self.free.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    fn give_to_list(&mut self, buffer: Vec<u8>) {
        // All of the capacity stays allocated.
        if buffer.capacity() <= MOST - self.bytes {
            self.bytes += buffer.capacity();
            self.free.push(buffer);
        }
    }
}

#[inline]
fn suits(buffer: &[u8], len: usize) -> bool {
    // io_uring has filled buffers that are a little longer than a read.
    (len / 2..=len + len / 8).contains(&buffer.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_given_back_last_is_taken_first() {
        let mut pool = Pool::default();
        assert!(pool.take().is_empty());
        (4..8).for_each(|kib| pool.give(vec![0; kib << 10]));
        let taken = [(); 5].map(|()| pool.take().len() >> 10);
        assert_eq!(taken, [7, 6, 5, 4, 0]);
    }

    #[test]
    fn a_read_takes_a_buffer_of_about_its_length() {
        let mut pool = Pool::default();
        (1..=8).for_each(|eight| pool.give(vec![0; eight << 13]));
        let taken = [(); 3].map(|()| pool.take_for(17 << 10).len() >> 13);
        assert_eq!(taken, [2, 0, 0]);
        pool.give(vec![0; 17 << 10]);
        assert_eq!(pool.take_for(16 << 10).len(), 17 << 10);
    }

    #[test]
    fn a_small_buffer_is_freed() {
        let mut pool = Pool::default();
        pool.give(vec![0; (4 << 10) - 1]);
        assert!(pool.take().is_empty());
    }

    #[test]
    fn a_pool_keeps_no_more_than_it_may_beside_the_last_buffer() {
        let mut pool = Pool::default();
        for capacity in [1 << 20, 1 << 20, 2 << 20] {
            for _ in 0..100 {
                let mut buffer = vec![0; capacity];
                buffer.truncate(1 << 20);
                pool.give(buffer);
            }
            assert_eq!(pool.bytes, MOST);
            let taken = (0..100).filter(|_| !pool.take().is_empty()).count();
            assert_eq!(taken, MOST / capacity + 1);
            assert_eq!(pool.bytes, 0);
        }
    }
}
