//! One opening request to a server, or one response to a client: over a socket and each adapter.
use super::{
    harness::{ADAPTERS, Adapter, End, Foe, Heap, READ, REQUEST, STATE, duel},
    wire::Seen,
};
use std::io::{ErrorKind, Read};
use testkit::alloc::uncounted;
use tickwire::{
    Config, Error, Role,
    handshake::{
        HandshakeError,
        client::Request,
        server::{self, Accept, Rejection},
    },
};

/// What a head of `len` bytes may take: the buffer it is read into, twice as long at most, and the
/// one before that while what it holds moves; and what a refused stream is drained into.
pub(crate) fn heap_of_a_head(len: usize) -> usize {
    3 * len + (4 << 10) + STATE
}

/// What the victim makes of an attempt: the events of the connection and its end, or no connection.
pub(crate) type Verdict = Result<(Vec<Seen>, End), HandshakeError>;

/// One attempt.
pub(crate) struct Tried<U> {
    pub(crate) adapter: Adapter,
    pub(crate) verdict: Verdict,
    pub(crate) heap: Heap,
    /// What the attack returned.
    pub(crate) told: U,
    /// How the error is shown, as users log it.
    pub(crate) shown: String,
}

impl<U> Tried<U> {
    fn new(adapter: Adapter, made: (Verdict, String), told: U, heap: Heap) -> Self {
        let (verdict, shown) = made;
        Self { adapter, verdict, heap, told, shown }
    }
}

fn verdict(opened: Result<super::harness::Ws, Error>) -> (Verdict, String) {
    match opened {
        Ok(mut ws) => {
            let mut seen = Vec::new();
            let end = ws.watch(|event| uncounted(|| seen.push(event.into())));
            (Ok((seen, end)), String::new())
        }
        Err(error) => {
            let shown = uncounted(|| format!("{error} {error:?}"));
            let error = match error {
                Error::Handshake(error) => error,
                Error::Refused(refusal) => HandshakeError::Refused { status: refusal.status },
                other => panic!("{other:?}"),
            };
            (Err(error), shown)
        }
    }
}

/// A server that accepts whatever is legal.
pub(crate) fn serve<U>(config: &Config, attack: impl Fn(&mut Foe) -> U) -> Vec<Tried<U>> {
    serve_if(config, |_| Ok(Accept::default()), attack)
}

/// A server that decides; a request that it refuses itself ends as `Incomplete`.
pub(crate) fn serve_if<U>(
    config: &Config,
    decide: impl Fn(&server::RequestHead<'_>) -> Result<Accept<'static>, Rejection>
    + Clone
    + Send
    + 'static,
    attack: impl Fn(&mut Foe) -> U,
) -> Vec<Tried<U>> {
    ADAPTERS.iter().map(|&adapter| serve_by(adapter, config, decide.clone(), &attack)).collect()
}

/// The same, by one adapter.
pub(crate) fn serve_by<U>(
    adapter: Adapter,
    config: &Config,
    decide: impl Fn(&server::RequestHead<'_>) -> Result<Accept<'static>, Rejection> + Send + 'static,
    attack: impl Fn(&mut Foe) -> U,
) -> Tried<U> {
    let config = config.clone();
    let (made, told, heap) = duel(
        adapter,
        move |door| verdict(door.serve(&config, decide)),
        |io| attack(&mut Foe::new(Role::Server, io)),
    );
    Tried::new(adapter, made, told, heap)
}

/// A client, whose request is left for the attack to read.
pub(crate) fn dial<U>(
    request: &Request,
    config: &Config,
    attack: impl Fn(&mut Foe) -> U,
) -> Vec<Tried<U>> {
    let one = |&adapter: &Adapter| {
        let (request, config) = (request.clone(), config.clone());
        let (made, told, heap) = duel(
            adapter,
            move |door| verdict(door.connect(&request, &config)),
            |io| attack(&mut Foe::new(Role::Client, io)),
        );
        Tried::new(adapter, made, told, heap)
    };
    ADAPTERS.iter().map(one).collect()
}

/// Everything that a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Byte for byte.
    pub(crate) text: String,
    /// The server ended the stream, and did not break it off.
    pub(crate) fin: bool,
}

impl Answer {
    pub(crate) fn read(foe: &mut Foe) -> Self {
        let mut bytes = Vec::new();
        let fin = match foe.io.read_to_end(&mut bytes) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        };
        Self { text: bytes.into_iter().map(char::from).collect(), fin }
    }

    pub(crate) fn status(&self) -> u16 {
        let rest = self.text.strip_prefix("HTTP/1.1 ").expect("a response");
        rest[..3].parse().expect("a status")
    }

    /// It is one response with this status, which says that it is the last, and the end.
    #[track_caller]
    pub(crate) fn is_last(&self, status: u16) {
        assert_eq!(self.status(), status, "{self:?}");
        assert_eq!(self.text.matches("HTTP/1.").count(), 1, "{self:?}");
        let (head, body) = self.text.split_once("\r\n\r\n").expect("a whole head");
        assert!(head.contains("\r\nConnection: close"), "{self:?}");
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: "));
        assert_eq!(length, Some(&*body.len().to_string()), "{self:?}");
        assert!(self.fin, "a reset might take the answer away");
    }
}

/// Says all this and no more, and reads all that comes.
pub(crate) fn ask(foe: &mut Foe, wire: &[u8]) -> Answer {
    foe.flood(wire, 1);
    foe.end();
    Answer::read(foe)
}

/// A request that is refused: by this error, its status, and the end; for no more memory than its
/// head may take.
#[track_caller]
pub(crate) fn refused(config: &Config, wire: &[u8], error: HandshakeError) {
    let bound = heap_of_a_head(wire.len());
    for tried in serve(config, |foe| ask(foe, wire)) {
        let what = format!("{:?} {}", tried.adapter, cut(wire));
        assert_eq!(tried.verdict, Err(error), "{what}");
        tried.told.is_last(error.status());
        tried.heap.under(what, bound);
    }
}

/// A request that is accepted, for no more memory than that. Returns the head of the response.
#[track_caller]
pub(crate) fn accepted(config: &Config, wire: &[u8]) -> String {
    let bound = heap_of_a_head(wire.len()) + READ;
    let mut heads = serve(config, |foe| ask(foe, wire)).into_iter().map(|tried| {
        let what = format!("{:?} {}", tried.adapter, cut(wire));
        assert!(tried.verdict.is_ok(), "{what}: {:?}", tried.verdict);
        assert_eq!(tried.told.status(), 101, "{what}");
        tried.heap.under(what, bound);
        tried.told.text.split_once("\r\n\r\n").expect("a whole head").0.to_owned()
    });
    let first = heads.next().unwrap();
    assert!(heads.all(|head| head == first), "adapters answer alike");
    first
}

/// The start of a wire, for a message.
fn cut(wire: &[u8]) -> String {
    format!("{} bytes, {}", wire.len(), wire[..wire.len().min(120)].escape_ascii())
}

// Heads.

/// A valid request with more lines.
pub(crate) fn request(more: &[&str]) -> Vec<u8> {
    let mut wire = REQUEST.to_owned();
    more.iter().for_each(|line| wire.extend([line, "\r\n"]));
    (wire + "\r\n").into_bytes()
}

/// A valid request with one line replaced.
pub(crate) fn request_with(name: &str, value: &str) -> Vec<u8> {
    let named = |line: &&str| line.starts_with(&format!("{name}:"));
    let lines: Vec<_> = REQUEST.trim_end().split("\r\n").filter(|line| !named(line)).collect();
    format!("{}\r\n{name}: {value}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

/// A valid response with more lines.
pub(crate) fn response(proof: &str, more: &[&str]) -> Vec<u8> {
    let mut wire = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {proof}\r\n"
    );
    more.iter().for_each(|line| wire.extend([line, "\r\n"]));
    (wire + "\r\n").into_bytes()
}
