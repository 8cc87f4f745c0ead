use super::*;
use alloc::vec::Vec;
use testkit::Rng;

/// After any sequence of writes and checks, a check of the buffer has the same result as the
/// standard library's check of the same bytes.
#[test]
fn a_buffer_knows_only_what_is_so() {
    let mut rng = Rng::new(1);
    let pieces = ["a", "é", "€", "😀"].map(str::as_bytes);
    let mut whole = 0;
    let mut begun = 0;
    let mut neither = 0;
    for _ in 0..if cfg!(miri) { 200 } else { 20_000 } {
        let mut buffer = Buffer::from(alloc::vec![b'x'; 12]);
        for _ in 0..8 {
            let from = rng.below(12);
            let to = rng.below(14);
            match rng.below(6) {
                0 => buffer.copy_within(from..12, to.min(from)),
                1 => buffer.overwrite(from..).unwrap_or_default().fill(b'y'),
                2 => buffer.get_mut(from..12).unwrap_or_default().fill(0xff),
                3 => {
                    let piece = pieces[rng.below(4)];
                    let n = piece.len().min(12 - from);
                    buffer.get_mut(from..from + n).unwrap_or_default().copy_from_slice(&piece[..n]);
                }
                4 => {
                    let fresh =
                        buffer.get(from..to).is_some_and(|b| core::str::from_utf8(b).is_ok());
                    let text = buffer.is_text(from..to);
                    assert_eq!(text, fresh);
                    if text {
                        assert_eq!(buffer.text().as_bytes(), &buffer[from..to]);
                        whole += 1;
                    }
                }
                _ if from <= to && to <= 12 => {
                    let fresh = core::str::from_utf8(&buffer[from..to]);
                    let begins = fresh.is_ok_and(|_| true)
                        || fresh.is_err_and(|error| error.error_len().is_none());
                    assert_eq!(buffer.begins_text(from..to), begins);
                    if begins { begun += 1 } else { neither += 1 }
                }
                _ => {}
            }
            assert!(core::str::from_utf8(buffer.text().as_bytes()).is_ok());
        }
        let known = buffer.text().len();
        assert_eq!(buffer.into_text().as_str().len(), known);
    }
    if !cfg!(miri) {
        assert!(whole > 1000 && begun > 1000 && neither > 1000, "{whole} {begun} {neither}");
    }
}

/// Known text stays known after a move. A buffer moves text when a read has ended inside the text.
#[test]
fn text_that_moves_stays_known() {
    let mut buffer = Buffer::from("....aé€..".as_bytes().to_vec());
    assert!(buffer.is_text(4..10));
    buffer.copy_within(2..10, 0);
    assert_eq!((buffer.text(), buffer.known(&(2..12))), ("aé€", 8));
    // If only a part of the known text moves, no text stays known. A later move, even back, does
    // not make text known again.
    buffer.copy_within(3..8, 0);
    assert_eq!(buffer.text(), "");
    buffer.copy_within(0..11, 0);
    assert_eq!(buffer.text(), "");
}

/// Texts that share memory (module `block`) do not change, however many texts follow them.
#[test]
fn a_kept_text_is_its_twin() {
    let texts: Vec<_> = (0..100).map(|i| "aé€😀".repeat(i * i % 600)).collect();
    let kept: Vec<_> = texts.iter().map(|text| Text::kept(text)).collect();
    for (text, kept) in texts.iter().zip(kept) {
        let copied = Text::from(&text[..]);
        assert!(kept == copied);
        assert_eq!(core::str::from_utf8(&Bytes::from(kept.clone())), Ok(kept.as_str()));
    }
}

/// `try_from` has the same result, or the same error, as `str::from_utf8`.
#[test]
fn text_of_bytes_is_its_twin() {
    let alphabet = [b'a', 0x80, 0xa9, 0xc3, 0xe2, 0xf0, 0xff];
    let mut valid = 0;
    for n in 0..alphabet.len().pow(if cfg!(miri) { 2 } else { 4 }) {
        let digits = (0..4).map(|i| alphabet[n / alphabet.len().pow(i) % alphabet.len()]);
        let bytes: Bytes = digits.collect();
        let text = Text::try_from(bytes.clone());
        assert_eq!(text.as_ref().map(Text::as_str), core::str::from_utf8(&bytes).as_ref().copied());
        valid += usize::from(text.is_ok());
    }
    assert!(cfg!(miri) || valid > 20, "{valid}");
}

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The loop with which the kernels are compared: masks byte by byte, as §5.3 defines masking.
fn byte_loop(bytes: &mut [u8], key: [u8; 4]) {
    for (byte, k) in bytes.iter_mut().zip(key.iter().cycle()) {
        *byte ^= k;
    }
}

fn source(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 13) as u8).collect()
}

/// Returns pairs of alignment and length. The lengths begin at 0, go far beyond the widest block,
/// and include the lengths around `ALIGNED`.
fn cases() -> impl Iterator<Item = (usize, usize)> {
    let dense = 0..700;
    let sparse = 2040..2120;
    (0..33)
        .flat_map(move |at| dense.clone().chain(sparse.clone()).map(move |n| (at, n)))
        .step_by(if cfg!(miri) { 727 } else { 1 })
}

#[test]
fn kernels_are_their_twin_at_every_length_and_alignment() {
    let source = source(2200);
    for (at, n) in cases() {
        let mut want = source.clone();
        byte_loop(&mut want[at..at + n], KEY);
        let mut got = source.clone();
        xor_in_place(&mut got[at..at + n], KEY);
        assert!(got == want, "in place, {n} at {at}");
        let mut got = source.clone();
        xor_to_read(&mut got[at..at + n], KEY);
        assert!(got == want, "to be read, {n} at {at}");
        let mut to = source.clone();
        to[at..at + n].fill(0xee);
        copy_xor(&mut to[at..at + n], &source[at..at + n], KEY);
        assert!(to == want, "copied, {n} at {at}");
    }
}

/// `ascii_prefix` returns the whole length if all bytes are ASCII, and never counts a byte that is
/// not ASCII. From 128 bytes on, the same holds for `ascii_blocks`, which is compiled without AVX2
/// here.
#[test]
fn ascii_is_what_each_byte_says() {
    let mut bytes = alloc::vec![b'x'; 800];
    let lengths = || (0..300).chain([383, 384, 385, 511, 512, 513, 767]);
    for n in lengths().step_by(if cfg!(miri) { 17 } else { 1 }) {
        for at in [0, 1, 31] {
            let text = &bytes[at..at + n];
            assert_eq!(ascii_prefix(text), n);
            assert_eq!(ascii_blocks(text), if n < 128 { 0 } else { n });
        }
        for bad in (0..n).step_by(if cfg!(miri) { 31 } else { 1 }) {
            for high in [0x80, 0xff] {
                bytes[bad] = high;
                for prefix in [ascii_prefix(&bytes[..n]), ascii_blocks(&bytes[..n])] {
                    assert!(prefix <= bad, "{n} {bad} {prefix}");
                }
                assert!(n < LONG || bad - ascii_prefix(&bytes[..n]) < 128, "{n} {bad}");
                bytes[bad] = b'x';
            }
        }
    }
}

#[test]
fn the_portable_body_is_its_twin_too() {
    let source = source(2200);
    for (at, n) in cases().filter(|&(_, n)| n >= 32) {
        let mut want = source.clone();
        byte_loop(&mut want[at..at + n], KEY);
        let mut got = source.clone();
        xor_blocks(&mut got[at..at + n], KEY);
        assert!(got == want, "in place, {n} at {at}");
        let mut to = source.clone();
        copy_xor_blocks(&mut to[at..at + n], &source[at..at + n], KEY);
        assert!(to == want, "copied, {n} at {at}");
    }
}
