//! A fake: the same prompt gives the same answer.
use std::time::Duration;

const TOKENS: [&str; 8] = ["the", " stream", " waits", ".\n", " täglich", " for", " a", " reader"];

/// How long the model works on each token: it thinks, then has 30 to 150 a second, in bursts.
pub(crate) fn answer(prompt: &str) -> impl Iterator<Item = (Duration, &'static str)> + use<> {
    let hash = |hash: u64, byte: u8| hash.wrapping_mul(31) ^ u64::from(byte);
    let mut random = prompt.bytes().fold(7, hash);
    let mut below = move |end| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % end
    };
    let (length, speed) = (200 + below(200), 30 + below(121));
    (0..length).map(move |n| {
        let thinks = if n == 0 { 300 + below(500) } else { 0 };
        let works = if below(4) == 0 { 4000 / speed } else { 0 };
        (Duration::from_millis(thinks + works), TOKENS[below(8) as usize])
    })
}
