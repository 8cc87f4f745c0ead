use super::*;

// Attack A63 on a server: a peer that goes on sending after an error fills no memory.
#[test]
fn what_comes_after_an_error_is_not_kept() {
    for (bytes, kept) in [(&b"\0"[..], 0), (b"GET / HTTP/1.1\r\n\r\n", 18)] {
        let mut handshake = Handshake::new(&Config::default());
        handshake.reading.spare_mut()[..bytes.len()].copy_from_slice(bytes);
        handshake.reading.commit(bytes.len());
        assert!(handshake.step().is_err());
        for _ in 0..100 {
            let n = handshake.reading.spare_mut().len();
            handshake.reading.commit(n);
            assert_eq!(handshake.reading.buf.wire().len(), kept);
        }
        assert_eq!(handshake.request().is_some(), kept > 0);
    }
}
