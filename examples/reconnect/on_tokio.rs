//! The sockets, under tokio: `Feed` has them all.
use super::client::{Application, Client};
use std::sync::{Arc, Mutex};
use tickwire::{
    Config, Dial, Message, OwnedMessage,
    tokio::{MaybeTls, WebSocket},
};
use tickwire_feed::{
    Ended, Incoming, Say, State,
    tokio::{Event, Exchange, Feed, Heard},
};

/// Follows the feed until the client stops for good.
pub(crate) async fn run(client: Client) {
    let Client { follower, attempts, application } = client;
    let mut feed = Feed::new(application, follower, Arc::new(Mutex::new(attempts)));
    loop {
        let event = feed.next().await;
        let now = feed.now();
        let application = feed.exchange();
        match event {
            Event::Data { data, .. } => application.deliver(&data, now),
            Event::Gap { gap, .. } => application.show_gap(gap, now),
            Event::Restart { .. } => application.show_restart(now),
            Event::State { state, .. } => {
                application.show_state(state, now);
                if let State::Stopped { .. } = state {
                    return;
                }
            }
            _ => {}
        }
    }
}

impl Exchange for Application {
    type Stream = MaybeTls;
    type Data = String;
    type Snapshot = ();

    fn connect(
        &mut self,
        _: usize,
        address: usize,
        _: Option<Ended>,
    ) -> impl Future<Output = Result<WebSocket<MaybeTls>, Ended>> + Send + 'static {
        let request = self.requests[address].clone();
        async move { Ok(Dial::new(&request).connect(&Config::trading()).await?) }
    }

    fn write(&mut self, say: Say, out: &mut Vec<OwnedMessage>) {
        out.push(self.message(say).into());
    }

    fn read(&mut self, message: Message<'_>, heard: &mut Heard<'_, String, ()>) {
        let text = message.as_text().unwrap_or_default();
        match Application::read(self, text) {
            Incoming::Data { subscription, numbers } => {
                heard.data(subscription, numbers, text.into());
            }
            incoming => heard.is(incoming),
        }
    }
}
