//! The most that each kind of attack may take of the heap, in terms of the limits that are
//! configured, here at their defaults. docs/LIMITS.md states the same.
pub(crate) const KIB: usize = 1 << 10;

/// The defaults of what [`Config`] has a method for.
pub(crate) const READ: usize = 16 * KIB;
pub(crate) const MAX_READ: usize = 64 * KIB;
pub(crate) const MESSAGE: usize = 16 << 20;
pub(crate) const FRAGMENTS: usize = 128 << 10;
pub(crate) const HIGH_WATER: usize = 1 << 20;
pub(crate) const HEAD: usize = 64 * KIB;

/// What a connection has besides what it received and what waits to be sent: its state, the first
/// buffer that it writes from (16 KiB), the runtime's entry for its socket, what a handshake keeps.
pub(crate) const STATE: usize = 32 * KIB;

/// What is enough where nothing has to be kept.
pub(crate) const SMALL: usize = READ + STATE;

/// What a thread keeps of buffers for all its connections, where they are of the tokio adapter or
/// compress.
pub(crate) const POOL: usize = 4 << 20;

/// A decompressor, and the first buffer that it writes to.
pub(crate) const INFLATE: usize = 96 * KIB;

/// Of buffers that were left for larger ones, the thread's pool keeps no more than their sum, which
/// is no more than the last one, and no more than it keeps at all.
const fn left(last: usize) -> usize {
    if last < POOL { last } else { POOL }
}

/// What reads take that messages of more than 2 KiB have filled: a read that has grown, and, while
/// the buffer is replaced, the one before, which may be the longer of the two.
pub(crate) const GROWN: usize = 2 * MAX_READ + left(MAX_READ);

/// What a message that is not complete takes, by what came of it: twice that to grow into, and the
/// half of it while it moves.
pub(crate) const fn partial(received: usize) -> usize {
    3 * (received + READ) + left(received + READ) + STATE
}

/// What the longest message takes, which is the most that a peer can have kept: itself and a read,
/// and, while the buffer grows to that, the one before.
pub(crate) const fn largest(max_message: usize) -> usize {
    2 * (max_message + READ) + left(max_message) + STATE
}

/// The same for what a compressed message becomes.
pub(crate) const fn largest_inflated(max_message: usize) -> usize {
    largest(max_message) + INFLATE
}

/// A message in as many fragments of one byte as are allowed.
pub(crate) const ONE_BYTE_FRAGMENTS: usize = partial(FRAGMENTS);

/// Pongs of 17 Pings, whatever is configured.
pub(crate) const PING_FLOOD: usize = SMALL;

/// What waits for a peer that does not read: what is fed below the limit, and one message that goes
/// beyond; in front of it as much again that was written and is not let go yet; in a buffer of
/// twice the length at most, that moves from one of half of that.
pub(crate) const fn unread(message: usize) -> usize {
    let waiting = HIGH_WATER + message;
    6 * waiting + left(2 * waiting) + SMALL
}

/// A head, in a buffer of twice its length at most that moves from one of half of that.
pub(crate) const fn longest_head(max_head: usize) -> usize {
    3 * max_head + left(max_head) + SMALL
}
