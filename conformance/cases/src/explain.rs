//! A case as a page for people.

use std::fmt::Write as _;

use crate::Role;
use crate::case::{Case, Level};
use crate::peer::{Env, Peer};
use crate::plan::{self, Place};

impl Case {
    /// One page about the case: bytes, sentence, reasoning, and what is not judged.
    pub fn explain(&self) -> String {
        let mut page = format!("{}  {}\n\n", self.id, self.title);
        let roles: Vec<String> = self.roles.iter().map(Role::to_string).collect();
        let level = match self.level {
            Level::R => "R (the tested end MUST do it: it can fail)",
            Level::S => "S (the text binds the sender alone: accepting it is a note)",
            Level::C => "C (a choice: a note; but what comes back has to be right)",
        };
        let _ = writeln!(page, "tests      {}", roles.join(", "));
        let _ = writeln!(page, "group      {}", self.group().title());
        let _ = writeln!(page, "level      {level}");
        let _ = writeln!(page, "section    {}", self.rule.section);
        let _ = writeln!(page, "edition    {}", self.edition);
        if !self.needs.is_empty() {
            let needs: Vec<String> = self
                .needs
                .iter()
                .map(|need| serde_json::to_string(need).unwrap_or_default().replace('"', ""))
                .collect();
            let _ = writeln!(page, "needs      {}", needs.join(", "));
        }
        for (heading, text) in [
            ("The sentence", &self.rule.sentence),
            ("Why", &self.rule.reasoning),
            ("This case", &self.note),
            ("Not judged", &self.rule.not_judged),
        ] {
            if !text.is_empty() {
                let _ = write!(page, "\n{heading}\n{}", wrapped(text));
            }
        }
        for &role in &self.roles {
            let _ = write!(page, "\nWhat is done to a {role}\n{}", self.steps(role));
        }
        page
    }

    /// The steps of the case against `role`: what is sent, frames in words too, and the marker that
    /// comes behind.
    pub fn steps(&self, role: Role) -> String {
        let peer = Peer::capable();
        let env = Env::new("example.com", "/", peer, 0);
        let steps = |place| plan::of(self, role, &env, place).describe();
        match self.is_of_two() {
            true => format!(
                "{}  beside it, on a connection that opens at the first turn\n{}",
                steps(Place::First),
                steps(Place::Second)
            ),
            false => steps(Place::First),
        }
    }
}

fn wrapped(text: &str) -> String {
    let mut page = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        if width + word.len() > 90 {
            page.push('\n');
            width = 0;
        }
        page.push_str(if width == 0 { "  " } else { " " });
        page.push_str(word);
        width += word.len() + 1;
    }
    page.push('\n');
    page
}
