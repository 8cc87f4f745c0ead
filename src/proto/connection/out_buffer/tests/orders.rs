//! Compares every order of a few calls with a model: the bytes to write, the counts and the
//! invariants of the buffer must be correct after each call. Frames are small, so that writes of a
//! few lengths can stop at every byte of a frame.
use super::{super::Kind, *};
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    /// The response of a handshake, which has no frames.
    Response,
    /// A message in one frame.
    Message,
    /// A message in one frame, whose payload is spliced.
    Payload,
    /// The first chunk of a message.
    Open,
    /// A chunk in the middle of a message.
    Middle,
    /// The last chunk of a message.
    Last,
    /// A Ping, which overtakes if there are bytes to write.
    Ping,
    /// A message that overtakes.
    First,
    /// A write of up to this many bytes.
    Write(usize),
    /// Drops written bytes at the front to make room.
    Front,
    /// A Close behind everything queued.
    Close,
    /// A Close that overtakes, and so drops data.
    Cut,
    /// After our Close has left, drops the control frames that have not begun to leave.
    EndControls,
    /// Drops the control frames in the last splice.
    DropLast,
}
use Call::*;

const CALLS: [Call; 17] = [
    Response,
    Message,
    Payload,
    Open,
    Middle,
    Last,
    Ping,
    First,
    Write(1),
    Write(2),
    Write(3),
    Write(99),
    Front,
    Close,
    Cut,
    EndControls,
    DropLast,
];

/// A frame queued in order, or all frames that share a splice.
struct Item {
    what: What,
    bytes: Vec<u8>,
    written: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    /// A data frame queued in order, and whether a message begins with it.
    Data(bool),
    /// A response or a control frame, queued in order.
    Control,
    /// Control frames that overtake.
    Pings,
    /// Messages that overtake, of three bytes each.
    Firsts,
}

impl Item {
    /// The end of the last frame that has begun to leave. Each frame has `len` bytes.
    fn begun(&self, len: usize) -> usize {
        self.written.next_multiple_of(len)
    }

    fn is_new(&self, what: What) -> bool {
        self.what == what && self.written == 0
    }

    fn is_ping(&self) -> bool {
        self.bytes.starts_with(&[0x89])
    }

    fn in_order(&self) -> bool {
        matches!(self.what, What::Data(_) | What::Control)
    }
}

#[derive(Default)]
struct Model {
    queue: Vec<Item>,
    fed: u64,
    open: bool,
    closed: bool,
    /// Whether a response is being written.
    responds: bool,
    /// The number of calls so far. It is the payload of the next frame, so that payloads differ.
    serial: u8,
}

impl Model {
    /// Whether the sender may make this call now.
    fn allows(&self, call: Call) -> bool {
        match call {
            Message | Payload | Open => !self.open && !self.closed,
            Middle | Last => self.open && !self.closed,
            First | Close | Cut => !self.closed,
            // This call requires that our Close and all data have left.
            EndControls => self.closed && self.queue.iter().all(Item::is_ping),
            Write(_) => !self.queue.is_empty(),
            Response => self.serial == 0,
            Front => !self.responds,
            Ping | DropLast => true,
        }
    }

    fn push(&mut self, what: What, bytes: &[u8]) {
        self.fed += bytes.len() as u64;
        self.queue.push(Item { what, bytes: bytes.to_vec(), written: 0 });
    }

    /// The index of the first `wanted` item that has not begun to leave.
    fn place(&self, wanted: impl Fn(What) -> bool) -> Option<usize> {
        self.queue.iter().position(|item| wanted(item.what) && item.written == 0)
    }

    /// Adds frames to the item at `joined` if that item is of the kind `what`. Otherwise inserts a
    /// new item at `at`.
    fn insert(&mut self, what: What, joined: Option<usize>, at: usize, frames: &[u8]) {
        match joined.and_then(|at| self.queue.get_mut(at)).filter(|item| item.what == what) {
            Some(item) => item.bytes.extend_from_slice(frames),
            None => self.queue.insert(at, Item { what, bytes: frames.to_vec(), written: 0 }),
        }
    }

    /// A Ping goes before the first data that has not begun to leave, and before the messages that
    /// overtook this data.
    fn ping(&mut self, frame: &[u8]) {
        if self.queue.is_empty() {
            return self.push(What::Control, frame);
        }
        let pings = self.queue.iter().position(|item| item.what == What::Pings);
        let data = self.place(|what| matches!(what, What::Data(_)));
        let mut at = data.unwrap_or(self.queue.len());
        while at > 0 && self.queue[at - 1].is_new(What::Firsts) {
            at -= 1;
        }
        self.insert(What::Pings, pings, at, frame);
    }

    /// A message that overtakes goes before the first message queued in order that has not begun to
    /// leave, but behind all earlier messages that overtook it.
    fn first(&mut self, frame: &[u8]) {
        let message = self.place(|what| what == What::Data(true));
        if message.is_some() || !self.open {
            let at = message.unwrap_or(self.queue.len());
            self.insert(What::Firsts, at.checked_sub(1), at, frame);
        }
    }

    /// Removes the items that have no unwritten bytes.
    fn remove_empty(&mut self) {
        self.queue.retain(|item| item.written < item.bytes.len());
    }

    fn write(&mut self, mut n: usize) {
        for item in &mut self.queue {
            let take = n.min(item.bytes.len() - item.written);
            item.written += take;
            n -= take;
        }
        self.remove_empty();
        self.responds &= self.queue.first().is_some_and(|item| item.bytes.starts_with(b"HTTP"));
    }

    /// Drops the data that has not begun to leave. Returns the number of dropped bytes.
    fn cut(&mut self) -> usize {
        let before = self.bytes().len();
        for item in &mut self.queue {
            match item.what {
                What::Data(_) if item.written == 0 => {
                    self.fed -= item.bytes.len() as u64;
                    item.bytes.clear();
                }
                What::Firsts => item.bytes.truncate(item.begun(3)),
                _ => {}
            }
        }
        self.remove_empty();
        before - self.bytes().len()
    }

    fn bytes(&self) -> Vec<u8> {
        self.queue.iter().flat_map(|item| &item.bytes[item.written..]).copied().collect()
    }

    /// The number of unwritten bytes of the items for which `count` is true.
    fn len(&self, count: impl Fn(&Item) -> bool) -> usize {
        self.queue
            .iter()
            .filter(|item| count(item))
            .map(|item| item.bytes.len() - item.written)
            .sum()
    }
}

/// Performs `call` on the buffer and on the model.
fn make(call: Call, out: &mut OutBuffer, model: &mut Model) {
    model.serial += 1;
    let payload = model.serial;
    let mut feed = |out: &mut OutBuffer, what, b0| {
        out.append(&[b0, 1, payload]);
        model.push(what, &[b0, 1, payload]);
    };
    match call {
        Response => {
            out.append(b"HTTP");
            out.begin_frames();
            model.push(What::Control, b"HTTP");
            model.responds = true;
        }
        Message => feed(out, What::Data(true), 0x82),
        Open => {
            feed(out, What::Data(true), 0x02);
            out.open = true;
            model.open = true;
        }
        Middle => feed(out, What::Data(false), 0x00),
        Last => {
            feed(out, What::Data(false), 0x80);
            out.open = false;
            model.open = false;
        }
        Payload => {
            out.append(&[0x82, 2]);
            out.splice(vec![payload, payload].into());
            model.push(What::Data(true), &[0x82, 2, payload, payload]);
        }
        Ping => {
            let placed = out.controls.len();
            out.controls.extend([0x89, 0]);
            if out.len() > 0 {
                out.place_controls(placed)
            } else {
                out.append_controls()
            }
            model.ping(&[0x89, 0]);
        }
        First => {
            out.overtake_messages(&mut vec![0x82, 1, payload]);
            model.first(&[0x82, 1, payload]);
        }
        Write(n) => {
            let n = n.min(out.len());
            Outgoing(out).advance(n);
            model.write(n);
        }
        Front => {
            out.move_mark();
            out.drop_front(0);
        }
        Close | Cut => {
            if call == Cut {
                assert_eq!(out.truncate(), model.cut());
            }
            out.append(&[0x88, 0]);
            model.push(What::Control, &[0x88, 0]);
            model.closed = true;
        }
        EndControls => {
            out.truncate_controls();
            for pings in &mut model.queue {
                let dropped = pings.bytes.split_off(pings.begun(2));
                model.fed -= if pings.in_order() { dropped.len() as u64 } else { 0 };
            }
            model.remove_empty();
        }
        DropLast => {
            out.drop_last_controls();
            model.queue.pop_if(|item| item.is_new(What::Pings));
        }
    }
}

/// The bytes to write, in the order in which `advance` removes them.
fn bytes(out: &OutBuffer) -> Vec<u8> {
    let mut from = out.sent;
    let mut bytes = Vec::new();
    for splice in &out.splices {
        bytes.extend_from_slice(&out.bytes[from..splice.at]);
        bytes.extend_from_slice(out.content(splice));
        from = splice.at;
    }
    bytes.extend_from_slice(&out.bytes[from..out.end]);
    bytes
}

fn check(out: &mut OutBuffer, model: &Model) {
    let expected = model.bytes();
    assert_eq!(bytes(out), expected);
    let overtaking = model.len(|item| !item.in_order());
    let in_order = (expected.len() - overtaking) as u64;
    assert_eq!((out.fed(), out.written()), (model.fed, model.fed - in_order));
    assert_eq!((out.len(), out.overtaking), (expected.len(), overtaking));
    assert_eq!(out.first_len(), model.len(|item| item.what == What::Firsts));
    assert_eq!(out.takes_controls(), !model.queue.iter().any(|item| item.what == What::Pings));
    // The invariants.
    assert!(out.mark <= out.sent || model.responds);
    assert!(
        out.mark == out.end || Header::parse(&out.bytes[out.mark..]).is_ok_and(|it| it.is_some())
    );
    assert!(out.mark <= out.end && out.sent <= out.end && out.end <= out.bytes.len());
    let mut from = out.sent.max(out.mark);
    for splice in &out.splices {
        assert!(from <= splice.at && splice.at <= out.end && !out.content(splice).is_empty());
        from = splice.at;
    }
    let spliced: usize = out.splices.iter().map(|splice| out.content(splice).len()).sum();
    assert_eq!(out.spliced, spliced);
    let controls =
        out.splices.iter().filter(|splice| matches!(splice.kind, Kind::Controls)).count();
    assert_eq!(controls, usize::from(!out.controls.is_empty()));
    let next = Outgoing(out);
    assert!(expected.starts_with(next.chunk()) && next.chunk().is_empty() == expected.is_empty());
    assert!(next.single().is_none_or(|all| all == expected));
    #[cfg(feature = "std")]
    for most in [1, 2, 9] {
        let mut slices = [std::io::IoSlice::new(&[]); 9];
        let n = next.chunks_vectored(&mut slices[..most]);
        let listed: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.iter().copied()).collect();
        assert!(expected.starts_with(&listed) && (n == most || listed == expected));
    }
    for most in [1, 3] {
        out.longest_write = most;
        let first = &expected[..expected.len().min(most)];
        let next = Outgoing(out);
        assert!(first.starts_with(next.chunk()) && next.chunk().is_empty() == first.is_empty());
        assert!(next.single().is_none_or(|all| all == expected && all == first));
        #[cfg(feature = "std")]
        {
            let mut slices = [std::io::IoSlice::new(&[]); 9];
            let n = next.chunks_vectored(&mut slices);
            let listed: Vec<u8> = slices[..n].iter().flat_map(|it| it.iter().copied()).collect();
            assert_eq!(listed, first);
        }
    }
    out.longest_write = usize::MAX;
}

/// Tries every list of up to `most` calls that begins with the calls in `calls`.
fn try_all(calls: &mut Vec<Call>, most: usize) {
    for call in CALLS {
        let mut out = OutBuffer::new(usize::MAX);
        let mut model = Model::default();
        out.lend(vec![0; 8]); // so that the buffer soon grows
        calls.iter().for_each(|&call| make(call, &mut out, &mut model));
        if model.allows(call) {
            calls.push(call);
            let tried = Tried(calls);
            make(call, &mut out, &mut model);
            check(&mut out, &model);
            core::mem::forget(tried);
            if calls.len() < most {
                try_all(calls, most);
            }
            calls.pop();
        }
    }
}

/// When dropped, prints the calls that were made. It is dropped only if a check fails.
struct Tried<'a>(&'a [Call]);

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        std::eprintln!("{:?}", self.0);
    }
}

/// Tries five calls in a row, or seven with `TESTS=all`, which takes a minute.
#[test]
fn every_order_of_calls_gives_the_bytes_of_the_model() {
    let all = option_env!("TESTS") == Some("all");
    let most = if cfg!(miri) { 2 } else { 5 };
    try_all(&mut Vec::new(), if all { 7 } else { most });
}
