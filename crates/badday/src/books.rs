//! For how long a bot had no right book, by what it says that it has applied, and when.
use crate::{
    applied::{Applied, Judge},
    market::Position,
    sight::Outage,
};
use std::{collections::VecDeque, time::Duration};

/// How long a bot may take to receive an update, apply it and say so.
const GRACE: Duration = Duration::from_secs(1);

struct Book {
    symbol: String,
    /// The updates of the last second.
    sent: VecDeque<(Duration, Position)>,
    /// The last update before them: what a right book has reached.
    due: Position,
    was_right: bool,
    /// Since when it is not right, if it has ever been.
    wrong: Option<Duration>,
}

pub(crate) struct Books {
    judge: Judge,
    books: Vec<Book>,
    /// Whether the bot says anything.
    kept: bool,
    outage: Option<Outage>,
    outages: Vec<Outage>,
}

impl Books {
    pub(crate) fn new(symbols: Vec<String>) -> Self {
        let book = |symbol| Book {
            symbol,
            sent: VecDeque::new(),
            due: Position { count: 0, number: 0 },
            was_right: false,
            wrong: None,
        };
        Self {
            judge: Judge::default(),
            books: symbols.into_iter().map(book).collect(),
            kept: false,
            outage: None,
            outages: Vec::new(),
        }
    }

    pub(crate) fn line(
        &mut self,
        line: &str,
        position: impl Fn(usize) -> Position,
    ) -> Result<(), String> {
        self.kept = true;
        self.judge.line(line)?;
        let name = line.split_whitespace().next();
        let Some(index) = self.books.iter().position(|book| Some(&*book.symbol) == name) else {
            return Ok(());
        };
        let at = position(index);
        let symbol = &self.books[index].symbol;
        if let Some((number, count)) = self.judge.book(symbol)
            && count.is_none_or(|count| count == at.count)
            && number > at.number
        {
            self.judge.fault(format!("{symbol}: {number} was never sent"));
        }
        Ok(())
    }

    pub(crate) fn sent(&mut self, symbol: usize, at: Position, now: Duration) {
        if self.kept {
            self.books[symbol].sent.push_back((now, at));
        }
    }

    /// A symbol is no longer traded.
    pub(crate) fn forget(&mut self, symbol: usize) {
        self.books.truncate(symbol);
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.books.iter().filter_map(|book| Some(book.sent.front()?.0 + GRACE)).min()
    }

    pub(crate) fn pass(&mut self, time: Duration, unserved: bool) {
        if let Some(outage) = &mut self.outage
            && unserved
        {
            outage.excused += time;
        }
    }

    pub(crate) fn look(
        &mut self,
        now: Duration,
        position: impl Fn(usize) -> Position,
        cause: &str,
    ) {
        if !self.kept {
            return;
        }
        for (index, book) in self.books.iter_mut().enumerate() {
            let has = self.judge.book(&book.symbol);
            let mut lacks = None;
            while let Some(&(sent, at)) = book.sent.front()
                && sent + GRACE <= now
            {
                book.sent.pop_front();
                book.due = at;
                if !has.is_some_and(|has| reaches(has, at)) {
                    lacks = lacks.or(Some(sent));
                }
            }
            let is_right = has.is_some_and(|has| {
                let newest = position(index);
                reaches(has, book.due) && (has.0 <= newest.number || book.due.count < newest.count)
            });
            book.was_right |= is_right;
            book.wrong = match is_right {
                true => None,
                false => book.wrong.or(lacks).or(Some(now)).filter(|_| book.was_right),
            };
        }
        let since = self.books.iter().filter_map(|book| book.wrong).min();
        match (&mut self.outage, since) {
            (None, Some(at)) => {
                let lasted = now.saturating_sub(at);
                let excused = Duration::ZERO;
                self.outage = Some(Outage { at, lasted, excused, after: cause.to_owned() });
            }
            (Some(outage), since) => {
                outage.lasted = now.saturating_sub(outage.at);
                if since.is_none() {
                    self.outages.extend(self.outage.take());
                }
            }
            (None, None) => {}
        }
    }

    /// `None` if the bot has never said anything.
    pub(crate) fn verdict(&self, subscribed: impl Fn(usize) -> bool) -> Option<Applied> {
        let never = self.books.iter().enumerate();
        let never = never.filter(|(index, book)| !book.was_right && subscribed(*index));
        self.kept.then(|| Applied {
            outages: self.outages.iter().chain(&self.outage).cloned().collect(),
            never: never.map(|(_, book)| book.symbol.clone()).collect(),
            ..self.judge.verdict()
        })
    }
}

/// Whether a book has all up to a position. Without its count, its numbers are believed.
fn reaches((number, count): (u64, Option<u32>), at: Position) -> bool {
    match count {
        Some(count) => Position { count, number } >= at,
        None => number >= at.number,
    }
}
