//! Harnesses for Kani, of the public calls. `proof/run` makes them a package of their own where `cargo kani` can be
//! had; nothing else compiles them.

#[kani::proof]
#[kani::unwind(15)]
fn every_header_that_is_parsed_is_encoded_as_it_was() {
    let wire: [u8; 14] = kani::any();
    let cut: usize = kani::any_where(|&n| n <= 14);
    if let Ok(Some((header, len))) = tickwire::frame::Header::parse(&wire[..cut]) {
        assert!(len <= cut && header.payload_len < 1 << 63);
        assert!(!header.opcode.is_control() || header.fin && header.payload_len <= 125);
        let (encoded, n) = header.encode();
        assert!(encoded[..n] == wire[..len]);
    }
}

#[kani::proof]
#[kani::unwind(15)]
fn what_is_refused_stays_refused_and_what_is_whole_stays_whole() {
    let wire: [u8; 14] = kani::any();
    let cut: usize = kani::any_where(|&n| n <= 14);
    let early = tickwire::frame::Header::parse(&wire[..cut]);
    if !matches!(early, Ok(None)) {
        assert!(early == tickwire::frame::Header::parse(&wire));
    }
}

#[kani::proof]
#[kani::unwind(40)]
fn masking_in_two_pieces_is_the_byte_loop() {
    let (payload, key): ([u8; 37], [u8; 4]) = (kani::any(), kani::any());
    let cut: usize = kani::any_where(|&n| n <= 37);
    let (mut masked, mut masker) = (payload, tickwire::mask::Masker::new(key));
    masker.apply(&mut masked[..cut]);
    masker.apply(&mut masked[cut..]);
    for i in 0..37 {
        assert!(masked[i] == payload[i] ^ key[i % 4]);
    }
}
