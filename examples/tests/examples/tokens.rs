//! The example `tokens`: an answer that is stopped, held up by its reader, and goes on after a cut.
#![cfg(feature = "tokio")]

#[path = "../../tokens/answers.rs"]
mod answers;
#[path = "../../tokens/model.rs"]
mod model;

use self::answers::{AHEAD, Answers};
use crate::bounded::bounded;
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use tickwire::{
    Config, Error,
    tokio::{MaybeTls, WebSocket, connect},
};
use tokio::{net::TcpListener, time::timeout};

async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers = Answers::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answers::session(stream, answers.clone()));
        }
    });
    address
}

/// The question that is answered in the least time.
fn quick() -> String {
    let lasts = |prompt: &String| model::answer(prompt).map(|(work, _)| work).sum::<Duration>();
    (0..500).map(|n| n.to_string()).min_by_key(lasts).unwrap()
}

fn whole(prompt: &str) -> String {
    model::answer(prompt).map(|(_, token)| token).collect()
}

struct Reader {
    ws: WebSocket<MaybeTls>,
    have: usize,
    text: String,
}

impl Reader {
    async fn ask(address: SocketAddr, asked: &str, have: usize) -> Result<Self, Error> {
        let mut ws = connect(&format!("ws://{address}"), &Config::default()).await?;
        ws.send(asked).await?;
        Ok(Self { ws, have, text: String::new() })
    }

    /// The next piece, which has to follow the one before. `Err`: there is none, since.
    async fn piece(&mut self) -> Result<Result<(), String>, Error> {
        let Some(message) = self.ws.recv().await? else { return Ok(Err("closed".into())) };
        let words: Vec<_> = message.as_text().unwrap().splitn(3, ' ').collect();
        let [from, to, text] = words[..] else { panic!("{words:?}") };
        let (Ok(from), Ok(to)) = (from.parse::<usize>(), to.parse::<usize>()) else {
            return Ok(Err(words.join(" ")));
        };
        assert!(from == self.have && to > from, "{from} to {to} behind {}", self.have);
        self.have = to;
        self.text.push_str(text);
        Ok(Ok(()))
    }

    async fn shows(&mut self) -> Result<(), Error> {
        self.ws.send(&*format!("have {}", self.have)).await
    }

    /// No more comes while nothing of it is shown.
    async fn pauses(&mut self) -> bool {
        timeout(Duration::from_millis(1500), self.piece()).await.is_err()
    }
}

#[tokio::test]
async fn no_token_is_lost_and_none_comes_twice_over_connections_cut_at_any_byte() {
    bounded(async {
        let server = start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(crate::cutter::run(listener, server, 100, 1000));
        let prompt = quick();
        let (mut have, mut text, mut places) = (0, String::new(), BTreeSet::new());
        let end = loop {
            let asked = format!("ask secret {have} {prompt}");
            let Ok(mut reader) = Reader::ask(address, &asked, have).await else { continue };
            let end = loop {
                match reader.piece().await {
                    Ok(Ok(())) if reader.shows().await.is_ok() => {}
                    Ok(Err(end)) if end != "closed" => break Some(end),
                    _ => break None,
                }
            };
            (have, text) = (reader.have, text + &reader.text);
            places.insert(have);
            if let Some(end) = end {
                break end;
            }
        };
        assert_eq!(end, format!("end {} complete", model::answer(&prompt).count()));
        assert_eq!(text, whole(&prompt));
        assert!(places.len() > 10, "cut at {places:?}");
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_it_within_a_burst() {
    bounded(async {
        let mut reader = Reader::ask(start().await, "ask id 0 hello", 0).await.unwrap();
        while reader.have < 20 {
            reader.piece().await.unwrap().unwrap();
        }
        reader.ws.send("stop").await.unwrap();
        let before = reader.have;
        let end = loop {
            if let Err(end) = reader.piece().await.unwrap() {
                break end;
            }
        };
        assert_eq!(end, format!("end {} stopped", reader.have));
        assert!(reader.have < before + 20, "stopped at {before}, ended at {}", reader.have);
        assert!(whole("hello").starts_with(&reader.text));
    })
    .await;
}

#[tokio::test]
async fn a_reader_who_shows_nothing_holds_the_model_up() {
    bounded(async {
        let prompt = quick();
        let address = start().await;
        let asked = format!("ask id 0 {prompt}");
        let mut reader = Reader::ask(address, &asked, 0).await.unwrap();
        while reader.have < AHEAD {
            reader.piece().await.unwrap().unwrap();
        }
        assert!(reader.pauses().await && reader.have == AHEAD);
        reader.ws.send("have 10").await.unwrap();
        while reader.have < AHEAD + 10 {
            reader.piece().await.unwrap().unwrap();
        }
        assert!(reader.pauses().await && reader.have == AHEAD + 10);
        // What is claimed to be shown and was not sent moves nothing.
        reader.ws.send("have 1000000").await.unwrap();
        while reader.have < 2 * AHEAD + 10 {
            reader.piece().await.unwrap().unwrap();
        }
        assert!(reader.pauses().await && reader.have == 2 * AHEAD + 10);
        // Who comes back has all of it at once, in one piece, and more: it is shown.
        let mut again = Reader::ask(address, &asked, 0).await.unwrap();
        again.piece().await.unwrap().unwrap();
        assert_eq!((again.have, &again.text), (reader.have, &reader.text));
        let asked = format!("ask id {} {prompt}", reader.have);
        let mut again = Reader::ask(address, &asked, reader.have).await.unwrap();
        again.piece().await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_not_there_is_not_begun_in_the_middle() {
    bounded(async {
        let address = start().await;
        for asked in ["ask id 7 hello", "ask id", "ask id x hello", "ask  0 hello"] {
            let mut reader = Reader::ask(address, asked, 7).await.unwrap();
            let error = reader.piece().await.unwrap().unwrap_err();
            assert!(error.starts_with("error: "), "{error}");
        }
        let mut reader = Reader::ask(address, "ask id 0 stop", 0).await.unwrap();
        reader.ws.send("ask id 1000 hello").await.unwrap();
        let error = loop {
            if let Err(error) = reader.piece().await.unwrap() {
                break error;
            }
        };
        assert!(error.starts_with("error: "), "{error}");
        // There is a bound on how many are made.
        let mut last = Ok(());
        let mut reader = Reader::ask(address, "stop", 0).await.unwrap();
        for n in 0..101 {
            reader.ws.send(&*format!("ask {n} 0 hello")).await.unwrap();
        }
        while last.is_ok() {
            reader.have = 0;
            last = reader.piece().await.unwrap();
        }
        assert!(last.unwrap_err().starts_with("error: "));
    })
    .await;
}
