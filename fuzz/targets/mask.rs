//! Masking in pieces, at any alignment, against a loop over bytes.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire::mask::Masker;
use tickwire_fuzz::Cuts;

fuzz_target!(|data: &[u8]| {
    let [k0, k1, k2, k3, offset, cut, times, rest @ ..] = data else {
        return;
    };
    let key = [*k0, *k1, *k2, *k3];
    // Repeated, so that a short input reaches the long kernels.
    let payload = rest.repeat(1 + usize::from(*times) % 32);
    let offset = usize::from(*offset);
    let want: Vec<u8> =
        payload.iter().enumerate().map(|(i, byte)| byte ^ key[(offset + i) % 4]).collect();

    let mut in_place = payload.clone();
    let mut masker = Masker::new(key);
    masker.apply(&mut vec![0; offset]); // what stands before the payload
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
});
