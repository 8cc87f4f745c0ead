//! What a wire leads to, in few words: events and an abnormal end, a violation, or a Close.
use crate::support::{
    carriers::{Outcome, run},
    wire::{CLOSE, Seen, code_of_violation, frame_to},
};
use tickwire::{CloseCode, Config, RecvError, Role};

/// These frames, and then the end of the stream, lead to these events and an abnormal end. Returns
/// what was sent.
#[track_caller]
pub(crate) fn delivers(role: Role, wire: &[u8], want: &[Seen]) -> Vec<(u8, Vec<u8>)> {
    delivers_with(role, &Config::default(), wire, want)
}

#[track_caller]
pub(crate) fn delivers_with(
    role: Role,
    config: &Config,
    wire: &[u8],
    want: &[Seen],
) -> Vec<(u8, Vec<u8>)> {
    let Outcome { mut seen, sent, code, clean, shut: _ } = run(role, config, wire);
    assert_eq!(seen.pop(), Some(Seen::Failed(RecvError::UnexpectedEof)), "{role:?} {seen:?}");
    assert_eq!(seen, want, "{role:?}");
    assert_eq!((code, clean), (1006, false));
    sent
}

/// This wire is a violation: reported here, answered there, and the end.
#[track_caller]
pub(crate) fn fails(role: Role, wire: &[u8], error: impl Into<RecvError>) {
    fails_with(role, &Config::default(), wire, error);
}

#[track_caller]
pub(crate) fn fails_with(role: Role, config: &Config, wire: &[u8], error: impl Into<RecvError>) {
    let sent = fails_behind(role, config, wire, &[], error);
    assert_eq!(sent, []);
}

/// These events, then a violation. Returns what was sent before the Close.
#[track_caller]
pub(crate) fn fails_behind(
    role: Role,
    config: &Config,
    wire: &[u8],
    before: &[Seen],
    error: impl Into<RecvError>,
) -> Vec<(u8, Vec<u8>)> {
    let error = error.into();
    let Outcome { mut seen, mut sent, code, clean, shut } = run(role, config, wire);
    assert_eq!(seen.pop(), Some(Seen::Failed(error)), "{role:?} {seen:?}");
    assert_eq!(seen, before, "{role:?}");
    let told = code_of_violation(error);
    assert_eq!(error.close_code().map(CloseCode::get), Some(told), "{role:?} {error}");
    assert_eq!(sent.pop(), Some((CLOSE, told.to_be_bytes().to_vec())), "{role:?} {error}");
    assert_eq!((code, clean, shut), (1006, false, true), "{role:?}");
    sent
}

/// This Close ends the connection well. Returns what answers it.
#[track_caller]
pub(crate) fn closes(role: Role, body: &[u8], code: u16) -> Vec<u8> {
    let Outcome { seen, mut sent, code: told, clean, shut } =
        run(role, &Config::default(), &frame_to(role, CLOSE, body));
    let reason = String::from_utf8(body.get(2..).unwrap_or_default().to_vec()).unwrap();
    let frame = (!body.is_empty()).then_some((code, reason));
    assert_eq!(seen, [Seen::Close(frame), Seen::Closed], "{role:?}");
    assert_eq!((told, clean, shut), (code, true, true), "{role:?}");
    let (b0, answer) = sent.pop().expect("an answer");
    assert_eq!((b0, sent.len()), (CLOSE, 0), "{role:?}");
    answer
}
