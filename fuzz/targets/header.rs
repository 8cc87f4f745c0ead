//! Any bytes as a frame header: the parser against the reference, at every length, and back.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire::frame::{Header, MAX_HEADER_LEN};
use tickwire_fuzz::reference::Head;

fuzz_target!(|data: &[u8]| {
    let data = &data[..data.len().min(MAX_HEADER_LEN + 2)];
    let mut settled = None;
    for n in 0..=data.len() {
        let parsed = Header::parse(&data[..n]);
        check(&data[..n], parsed);
        // What is once known does not change with what follows.
        if let Some(settled) = settled {
            assert_eq!(parsed, settled);
        } else if parsed != Ok(None) {
            settled = Some(parsed);
        }
    }
});

fn check(wire: &[u8], parsed: Result<Option<(Header, usize)>, tickwire::ProtocolError>) {
    if wire.is_empty() {
        return assert_eq!(parsed, Ok(None));
    }
    let head = Head::read(wire);
    let wrong = head.wrong_alone();
    let (header, len) = match parsed {
        Err(error) => return assert!(wrong.contains(&error), "{error:?} of {wrong:?}"),
        Ok(None) => {
            assert!(wrong.is_empty(), "{wrong:?}");
            return assert!(head.end.is_none_or(|n| n > wire.len()));
        }
        Ok(Some(parsed)) => parsed,
    };
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(Some(len), head.end);
    assert_eq!(header.fin, head.fin);
    assert_eq!(
        [header.rsv1, header.rsv2, header.rsv3],
        [4, 2, 1].map(|bit| head.reserved & bit != 0)
    );
    assert_eq!(header.opcode as u8, head.opcode);
    assert_eq!(Some(header.payload_len), head.len);
    let key = head.masked.then(|| <[u8; 4]>::try_from(&wire[len - 4..len]).unwrap());
    assert_eq!(header.masking_key, key);
    // The shortest form is the only one, so encoding gives the same bytes.
    let (bytes, n) = header.encode();
    assert_eq!(bytes[..n], wire[..len]);
}
