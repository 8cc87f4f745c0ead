//! Masking in pieces, in place and copying, at any alignment, against a loop over bytes.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire::mask::Masker;
use tickwire_fuzz::cuts::Cuts;

fuzz_target!(|data: &[u8]| {
    let [k0, k1, k2, k3, offset, cut, times, rest @ ..] = data else {
        return;
    };
    let key = [*k0, *k1, *k2, *k3];
    // Repeated, so that a short input reaches the long kernels.
    let payload = rest.repeat(1 + usize::from(*times) % 32);
    // Byte 2³² and more, too.
    let offset = u64::from(*offset) * 0x0101_0101_0101;
    let want: Vec<u8> = payload
        .iter()
        .enumerate()
        .map(|(i, byte)| byte ^ key[((offset + i as u64) % 4) as usize])
        .collect();

    let mut in_place = payload.clone();
    let mut masker = Masker::at(key, offset);
    let mut left = &mut in_place[..];
    for n in Cuts::new(*cut) {
        let (piece, rest) = left.split_at_mut(n.min(left.len()));
        masker.apply(piece);
        left = rest;
        if left.is_empty() {
            break;
        }
    }
    assert!(in_place == want, "in place, key {key:?}, offset {offset}, cut {cut}");

    // Either side may be the shorter one, and what is beyond it must stay.
    const GUARD: usize = 3;
    let mut copied = vec![0xee; payload.len() + GUARD];
    let mut masker = Masker::at(key, offset);
    let mut at = 0_usize;
    for (i, n) in Cuts::new(*cut).enumerate() {
        let end = payload.len().min(at.saturating_add(n));
        let done = if i % 2 == 0 {
            masker.copy(&mut copied[at..end], &payload[at..])
        } else {
            masker.copy(&mut copied[at..], &payload[at..end])
        };
        assert_eq!(done, end - at);
        at = end;
        // A look, since the whole rest for each byte would take seconds.
        assert!(copied[at..].iter().take(64).all(|&byte| byte == 0xee));
        if at == payload.len() {
            break;
        }
    }
    assert!(copied[..at] == want, "copied, key {key:?}, offset {offset}, cut {cut}");
});
