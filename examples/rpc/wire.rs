//! What goes over the wire, in binary messages: the number of the call, eight bytes, big-endian, and the
//! request; then the same number and the answer.
pub(crate) fn message(number: u64, payload: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), payload].concat()
}

/// The number and the payload; `None` for a message too short to have them.
pub(crate) fn read(message: &[u8]) -> Option<(u64, &[u8])> {
    let (number, payload) = message.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), payload))
}
