//! What goes over the wire, in binary messages: an order is its number, eight bytes, big-endian, and
//! its payload; an acknowledgement is the number alone.
pub(crate) fn order(number: u64, payload: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), payload].concat()
}

/// The number and what is behind it; `None` for what is too short.
pub(crate) fn read(message: &[u8]) -> Option<(u64, &[u8])> {
    let (number, payload) = message.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), payload))
}
