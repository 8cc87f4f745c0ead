//! Answers, which outlive the connections over which they are read.
//!
//! ```text
//! ask ID FROM PROMPT ->  begins an answer, or goes on with token FROM of the one there is
//!         have COUNT ->  so many tokens are shown: the model may be AHEAD of that
//!               stop ->
//!                    <-  FROM TO TEXT: the tokens there are, in one piece
//!                    <-  end COUNT WHY, or: error WHY
//! ```
use super::model;
use market_feed::{BoxError, page};
use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tickwire::{Config, Heartbeat, handshake::server::Accept, tokio as ws};
use tokio::{net::TcpStream, select, sync::watch, time};

/// In tokens: they are paid for, though the reader may have gone.
pub(crate) const AHEAD: usize = 64;
/// How long an answer waits for its reader.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_ANSWERS: usize = 100;

#[derive(Default)]
struct Answer {
    tokens: Vec<&'static str>,
    shown: usize,
    stopped: bool,
    /// Why there are no more.
    over: Option<&'static str>,
}

type Shared = Arc<watch::Sender<Answer>>;

/// By their IDs, which are secrets of those who ask.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<HashMap<String, Shared>>>);

impl Answers {
    /// A page whose connection broke cannot know whether its question arrived: asked again it is
    /// the same one.
    fn ask(&self, words: &str) -> Option<(Shared, usize)> {
        let mut words = words.splitn(3, ' ');
        let id = words.next().filter(|id| !id.is_empty())?;
        let from = words.next()?.parse::<usize>().ok()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = all.get(id) {
            answer.send_modify(|now| now.shown = now.shown.max(from.min(now.tokens.len())));
            return (from <= answer.borrow().tokens.len()).then(|| (answer.clone(), from));
        }
        if from > 0 || all.len() >= MOST_ANSWERS {
            return None;
        }
        let (answer, tokens) = (Shared::default(), model::answer(words.next()?));
        all.insert(id.to_owned(), answer.clone());
        let (making, answers, id) = (answer.clone(), self.clone(), id.to_owned());
        tokio::spawn(async move {
            let over = make(&making, tokens).await;
            making.send_modify(|now| now.over = Some(over));
            time::sleep(PATIENCE).await;
            answers.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        });
        Some((answer, from))
    }
}

async fn make(
    answer: &Shared,
    tokens: impl Iterator<Item = (Duration, &'static str)>,
) -> &'static str {
    let mut news = answer.subscribe();
    for (work, token) in tokens {
        let wanted = news.wait_for(|now| now.stopped || now.tokens.len() < now.shown + AHEAD);
        if time::timeout(PATIENCE, wanted).await.is_err() {
            return "given up: nobody reads it";
        }
        select! {
            biased;
            _ = news.wait_for(|now| now.stopped) => return "stopped",
            () = time::sleep(work) => answer.send_modify(|now| now.tokens.push(token)),
        }
    }
    "complete"
}

/// What is sent next, and how many tokens are sent then. As many as before: it was the end.
async fn piece(reading: Option<(Shared, usize)>) -> Option<(String, usize)> {
    let Some((answer, at)) = reading else { return pending().await };
    let mut news = answer.subscribe();
    let now = news.wait_for(|now| now.tokens.len() > at || now.over.is_some()).await.ok()?;
    match (now.tokens.get(at..)?, now.tokens.len()) {
        ([], to) => Some((format!("end {to} {}", now.over?), to)),
        (tokens, to) => Some((format!("{at} {to} {}", tokens.concat()), to)),
    }
}

/// One connection, or a browser that wants the page.
pub(crate) async fn session(stream: TcpStream, answers: Answers) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let config = Config {
        max_message: 16 << 10,
        heartbeat: Some(Heartbeat::BEHIND_PROXIES),
        ..Config::default()
    };
    let (incoming, checked) = ws::Incoming::read_any(stream, &config).await?;
    if let Err(error) = checked {
        let answer = page::answer(include_str!("page.html"), &incoming.request(), error)?;
        return Ok(incoming.reject(answer).await?);
    }
    let mut ws = incoming.accept(Accept::default()).await?;
    let mut reading: Option<(Shared, usize)> = None;
    loop {
        // While the stream takes nothing no piece is queued: the next one grows.
        let ready = reading.clone().filter(|_| ws.sender().buffered_amount() == 0);
        select! {
            biased;
            received = ws.recv_or_room(1) => match received? {
                ws::MessageOrRoom::Message(said) => {
                    let said = said.as_text().unwrap_or("");
                    if let Some(question) = said.strip_prefix("ask ") {
                        reading = answers.ask(question);
                        if reading.is_none() {
                            ws.feed("error: that answer is gone, or there are too many")?;
                        }
                    } else if let Some((answer, at)) = &reading {
                        let have = said.strip_prefix("have ");
                        let shown = have.and_then(|n| n.parse::<usize>().ok());
                        answer.send_modify(|now| match shown {
                            Some(shown) => now.shown = now.shown.max(shown.min(*at)),
                            None => now.stopped |= said == "stop",
                        });
                    }
                }
                ws::MessageOrRoom::Room => {}
                ws::MessageOrRoom::Closed => return Ok(()),
            },
            Some((piece, to)) = piece(ready) => {
                ws.feed(&*piece)?;
                reading = reading.filter(|(_, at)| to > *at).map(|(answer, _)| (answer, to));
            }
        }
    }
}
