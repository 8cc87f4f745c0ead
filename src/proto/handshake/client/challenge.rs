//! The methods of authentication that a response offers.
use crate::proto::handshake::head::{is_tchar, text, trim};

/// Names the schemes in a value of Proxy-Authenticate, in its order (RFC 9110 §11.6.1).
///
/// Commas separate both the challenges and the parameters of one challenge, so an element is a
/// challenge if its first token has no `=` behind it.
pub(super) fn schemes(value: &[u8]) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let elements = value.split(move |&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    });
    elements.filter_map(|element| {
        let element = trim(element);
        let end = element.iter().position(|&b| !is_tchar(b)).unwrap_or(element.len());
        let (scheme, rest) = element.split_at_checked(end)?;
        let is_alone = matches!(rest, [] | [b' ' | b'\t', ..]) && !trim(rest).starts_with(b"=");
        (is_alone && !scheme.is_empty()).then(|| text(scheme))
    })
}

#[cfg(test)]
mod tests {
    use super::schemes;

    #[test]
    fn schemes_are_told_from_parameters() {
        for (value, expected) in [
            ("Negotiate", &["Negotiate"][..]),
            ("Basic realm=\"a, NTLM\", charset=\"UTF-8\"", &["Basic"]),
            ("Basic realm=\"a\\\", Kerberos x\", NTLM", &["Basic", "NTLM"]),
            ("NTLM TlRMTVNTUAACAAA==,Negotiate YII=", &["NTLM", "Negotiate"]),
            (
                "Digest nonce=x , qop = \"auth\",algorithm=MD5,\tBasic\trealm=x",
                &["Digest", "Basic"],
            ),
            (", ,Basic,,", &["Basic"]),
            ("realm=\"x\"", &[]),
            ("\"Basic\", (NTLM), Basic:x, =", &[]),
            ("Basic realm=\"never ends, NTLM", &["Basic"]),
            ("", &[]),
        ] {
            assert!(schemes(value.as_bytes()).eq(expected.iter().copied()), "{value}");
        }
    }
}
