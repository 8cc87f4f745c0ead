//! What engineioxide 0.17.9 lacks: bytes over polling to clients of the versions 1 and 2. It writes
//! an attachment as newer clients read it, `bAQID` for `b4AQID`, at which the older ones throw.
//! This file can go when that is mended.
use axum::{
    body::{Body, to_bytes},
    http::header::{CONTENT_LENGTH, CONTENT_TYPE},
    response::Response,
};

/// The response, with the type of a message in each attachment.
pub(crate) async fn mended(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let is_text =
        head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind != "application/octet-stream");
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, typed(&body, is_text).map_or(Body::from(body), Body::from))
}

/// In text, for clients without typed arrays, a packet is the digits of its length in units of
/// UTF-16, a colon, and the packet. In bytes it is 0, the digits of its length in bytes, 255, and
/// the packet. `None` for what is no payload.
fn typed(mut payload: &[u8], is_text: bool) -> Option<Vec<u8>> {
    let (start, zero, mark) = if is_text { (0, b'0', b':') } else { (1, 0, 255) };
    let mut all = Vec::new();
    while !payload.is_empty() {
        let end = payload.iter().position(|&byte| byte == mark)?;
        let length = payload.get(start..end)?.iter().try_fold(0, |length, byte| {
            let digit = byte.checked_sub(zero).filter(|digit| *digit < 10)?;
            Some(10 * length + usize::from(digit))
        })?;
        let rest = &payload[end + 1..];
        let units = str::from_utf8(rest).unwrap_or_default().encode_utf16().take(length);
        let bytes = if is_text {
            char::decode_utf16(units).flatten().map(char::len_utf8).sum()
        } else {
            length
        };
        let (packet, next) = rest.split_at_checked(bytes)?;
        if let [b'b', base64 @ ..] = packet {
            all.extend(&payload[..start]);
            all.extend((length + 1).to_string().bytes().map(|digit| digit - b'0' + zero));
            all.extend([&[mark, b'b', b'4'], base64].concat());
        } else {
            all.extend(&payload[..end + 1 + bytes]);
        }
        payload = next;
    }
    Some(all)
}
