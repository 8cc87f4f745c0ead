//! HTTP long-polling: what the client has to say comes as the bodies of its POST requests; what is
//! said to it goes as the response to a GET that waits for it.
//!
//! One GET and one POST at a time, or there would be no order among them. A WebSocket that names
//! the session may take over:
//!
//! ```text
//! client                                 server
//! WebSocket: 2probe  ------------------>
//!                    <------------------ WebSocket: 3probe; the poll ends: with what waits, or 6
//! (polls no more)
//! WebSocket: 5       ------------------>
//!                    <-----------------> all packets, from where the last poll ended
//! ```
use super::{Ended, Served};
use crate::{
    engine::{
        CLOSE, End, Malformed, PROBE, UPGRADE,
        mailbox::Part,
        payload::{MAX_PACKETS, Packets, Payload},
    },
    http::Refused,
};
use bytes::Bytes;
use std::future::pending;
use tickwire::Message;
use tickwire_axum::WebSocket;
use tokio::{
    select,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

/// Where the response to a GET is waited for.
pub(crate) type Poll = oneshot::Sender<Result<Payload, Refused>>;

/// What a request wants from the session that it names.
pub(crate) enum Request {
    /// Whatever waits to be sent.
    Poll(Poll),
    /// To be heard.
    Post(Post),
    /// To take over.
    Probe(Box<WebSocket>),
    /// To be heard while another is being read.
    Overlap,
}

/// A body that has come.
pub(crate) struct Post {
    pub(crate) body: Bytes,
    /// It is bytes, and no text.
    pub(crate) binary: bool,
    pub(crate) reply: oneshot::Sender<Result<(), Refused>>,
}

/// A session's requests.
pub(crate) struct Polling {
    requests: mpsc::Receiver<Request>,
    poll: Option<Poll>,
    /// What was not read yet of the last body, and who wants to know when it was.
    post: Option<(Packets, oneshot::Sender<Result<(), Refused>>)>,
    probe: Option<Probe>,
}

/// A WebSocket that may take over.
struct Probe {
    ws: WebSocket,
    /// By when it has to.
    by: Instant,
    answered: bool,
}

/// What it says.
enum Said {
    Probe,
    Upgrade,
    /// Nothing any more, or what it may not say now.
    Nonsense,
}

impl Polling {
    pub(crate) fn new(requests: mpsc::Receiver<Request>) -> Self {
        Self { requests, poll: None, post: None, probe: None }
    }

    /// Serves a session until a WebSocket takes over, or to its end.
    pub(crate) async fn run(&mut self, served: &mut Served) -> Result<WebSocket, Ended> {
        let ended = self.converse(served).await;
        self.finish(served, &ended);
        ended.inspect_err(|ended| served.tell(ended))
    }

    async fn converse(&mut self, served: &mut Served) -> Result<WebSocket, Ended> {
        let mailbox = served.session.mailbox().clone();
        let mut stop = served.visit.stop.clone();
        let alarm = sleep_until(served.epoch);
        tokio::pin!(alarm);
        loop {
            self.read(served).map_err(Ended::Session)?;
            if mailbox.behind().too_slow {
                return Err(Ended::TooSlow);
            }
            if self.answer(served)? {
                continue; // there is room to read again
            }
            let by = served.alarm();
            let by = self.probe.as_ref().map_or(by, |probe| by.min(probe.by));
            if alarm.deadline() != by {
                alarm.as_mut().reset(by);
            }
            select! {
                biased;
                _ = stop.changed() => return Err(Ended::Stopping),
                () = gone(&mut self.poll) => return Err(Ended::Gone),
                () = &mut alarm => {
                    let late = |probe: &Probe| probe.by <= Instant::now();
                    if self.probe.as_ref().is_some_and(late) {
                        self.probe = None; // polling goes on
                    }
                    served.handle_timeout()?;
                }
                Some(request) = self.requests.recv() => self.request(request, served)?,
                () = mailbox.arrived() => served.handle_timeout()?,
                // Last, as it may have much to read: Pings without end would hide the rest.
                said = said(&mut self.probe) => {
                    if let Some(ws) = self.probe_said(said, served).await? {
                        return Ok(ws);
                    }
                }
            }
        }
    }

    fn request(&mut self, request: Request, served: &mut Served) -> Result<(), Ended> {
        match request {
            Request::Poll(poll) if self.poll.is_some() => {
                let _ = poll.send(Err(Refused::BadRequest));
                return Err(Ended::Session(End::Overlap));
            }
            Request::Poll(poll) => {
                self.poll = Some(poll);
                if self.post.is_some() {
                    // It is slow, but there, and its pong may lie unread.
                    served.excuse();
                }
            }
            Request::Post(_) if self.post.is_some() => return Err(Ended::Session(End::Overlap)),
            Request::Post(Post { body, binary, reply }) => {
                match Packets::new(body, binary, served.session.opening().revision) {
                    Ok(packets) => self.post = Some((packets, reply)),
                    Err(why) => {
                        let _ = reply.send(Err(Refused::BadRequest));
                        return Err(Ended::Session(why.into()));
                    }
                }
            }
            Request::Overlap => return Err(Ended::Session(End::Overlap)),
            Request::Probe(_) if self.probe.is_some() => {} // one is enough; this one is closed
            Request::Probe(ws) => {
                let by = Instant::now() + served.settings.upgrade_timeout;
                self.probe = Some(Probe { ws: *ws, by, answered: false });
            }
        }
        Ok(())
    }

    /// Reads the body that has come, unless too much waits for who sent it.
    fn read(&mut self, served: &mut Served) -> Result<(), End> {
        let now = served.now();
        while let Some((packets, _)) = &mut self.post {
            if packets.is_empty() {
                if let Some((_, reply)) = self.post.take() {
                    let _ = reply.send(Ok(()));
                }
            } else if served.session.mailbox().behind().bytes > served.settings.pause_at {
                break;
            } else if let Some(item) = packets.next() {
                served.session.receive(item?.message(), now)?;
            }
        }
        Ok(())
    }

    /// Answers the poll, if there is one and something for it.
    fn answer(&mut self, served: &Served) -> Result<bool, Ended> {
        let Some(poll) = self.poll.take() else { return Ok(false) };
        let opening = served.session.opening();
        let parts = served.session.mailbox().take(MAX_PACKETS, served.settings.max_payload);
        let payload = match &parts[..] {
            [] if self.probe.as_ref().is_some_and(|probe| probe.answered) => Payload::noop(opening),
            [] => {
                self.poll = Some(poll);
                return Ok(false);
            }
            parts => Payload::of(parts, opening),
        };
        poll.send(Ok(payload)).map(|()| true).map_err(|_| Ended::Gone)
    }

    async fn probe_said(
        &mut self,
        said: Said,
        served: &mut Served,
    ) -> Result<Option<WebSocket>, Ended> {
        let Some(mut probe) = self.probe.take() else { return Ok(None) };
        match said {
            Said::Nonsense => {} // polling goes on
            Said::Probe => {
                // Waits for nobody: so little always fits into the system's buffer.
                if probe.ws.send(PROBE.1).await.is_ok() {
                    probe.answered = true;
                    self.probe = Some(probe);
                }
            }
            Said::Upgrade => {
                // A body that has come was sent before.
                while let Ok(request) = self.requests.try_recv() {
                    match request {
                        Request::Post(_) => self.request(request, served)?,
                        Request::Poll(poll) => {
                            let _ = poll.send(Ok(Payload::noop(served.session.opening())));
                        }
                        Request::Probe(_) | Request::Overlap => {}
                    }
                }
                self.read(served).map_err(Ended::Session)?;
                if self.post.is_some() {
                    return Err(Ended::Session(Malformed("upgrade within a request").into()));
                }
                return Ok(Some(probe.ws));
            }
        }
        Ok(None)
    }

    /// Answers the requests that still wait.
    fn finish(&mut self, served: &Served, ended: &Result<WebSocket, Ended>) {
        let (mailbox, opening) = (served.session.mailbox(), served.session.opening());
        let (heard, last) = match ended {
            Err(Ended::Stopping) => (Err(Refused::Stopping), Err(Refused::Stopping)),
            Ok(_) | Err(Ended::Session(End::Closed)) => (Ok(()), Ok(Payload::noop(opening))),
            Err(_) => {
                let mut parts = mailbox.take(MAX_PACKETS - 1, served.settings.max_payload);
                parts.push(Part::Text(CLOSE.into()));
                (Err(Refused::BadRequest), Ok(Payload::of(&parts, opening)))
            }
        };
        if let Some((_, reply)) = self.post.take() {
            let _ = reply.send(heard);
        }
        if let Some(poll) = self.poll.take() {
            let _ = poll.send(last);
        }
    }
}

/// Waits until nobody waits for the poll any more.
async fn gone(poll: &mut Option<Poll>) {
    match poll {
        Some(poll) => poll.closed().await,
        None => pending().await,
    }
}

/// Waits for what the WebSocket says. Cancel safe.
async fn said(probe: &mut Option<Probe>) -> Said {
    let Some(Probe { ws, answered, .. }) = probe else { return pending().await };
    match ws.recv().await {
        Ok(Some(Message::Text(text))) if text == PROBE.0 && !*answered => Said::Probe,
        Ok(Some(Message::Text(UPGRADE))) if *answered => Said::Upgrade,
        _ => Said::Nonsense,
    }
}
