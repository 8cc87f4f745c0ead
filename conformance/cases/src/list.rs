//! All cases there are.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::Role;
use crate::case::{Body, Case, Data, rule};
use crate::code;
use crate::vectors;

/// The newest edition of the cases. A case of a later edition than a file of expectations names is
/// a note to its owner, not a failure.
pub const EDITION: u32 = 4;

/// No case: the row of a report that says that the server's process has died, and of no case alone.
pub const PROCESS: &str = "PROCESS";

/// The cases that were wrong and are gone. A file of expectations may still name them.
pub const WITHDRAWN: [&str; 3] = ["HS-327", "HS-328", "HS-329"];

/// All cases, by number.
pub fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let mut cases = from_vectors();
        cases.extend(from_data());
        cases.extend(code::cases());
        cases.sort_by(|a, b| a.id.cmp(&b.id));
        cases
    })
}

/// The case of this number.
pub fn find(id: &str) -> Option<&'static Case> {
    cases().iter().find(|case| case.id == id)
}

/// The vectors that are cases; the others need a limit that nobody can set from outside.
fn from_vectors() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let files = [
        (vectors::FRAMES, Role::Server),
        (vectors::REQUESTS, Role::Server),
        (vectors::CLIENTS, Role::Server),
        (vectors::RESPONSES, Role::Client),
    ];
    for (file, role) in files {
        for vector in vectors::list(file) {
            let Some(id) = vector["case"].as_str().map(str::to_owned) else { continue };
            let role = if vector["to"] == "client" { Role::Client } else { role };
            let is_frames = vector.get("to").is_some();
            if let Some(case) = cases.iter_mut().find(|case| case.id == id && is_frames) {
                case.roles.push(role);
                if let Body::Frames(by_role) = &mut case.body {
                    by_role.insert(role, vector);
                }
                continue;
            }
            let rule = rule(vector["rule"].as_str().unwrap_or_default());
            let level = serde_json::from_value(vector["level"].clone()).unwrap_or(rule.level);
            let needs = serde_json::from_value(vector["needs"].clone()).unwrap_or_default();
            let note = vector["note"].as_str().unwrap_or_default().to_owned();
            let title = vector["name"].as_str().unwrap_or_default().to_owned();
            let body = if is_frames {
                Body::Frames(HashMap::from([(role, vector)]))
            } else if role == Role::Server {
                Body::Request(vector)
            } else {
                Body::Response(vector)
            };
            cases.push(Case {
                id,
                title,
                roles: vec![role],
                edition: 1,
                rule,
                level,
                note,
                needs,
                body,
            });
        }
    }
    cases
}

fn from_data() -> Vec<Case> {
    let data: Vec<Data> = serde_json::from_str(include_str!("../data/cases.json"))
        .expect("the embedded cases are JSON");
    data.into_iter()
        .map(|data| {
            let rule = rule(&data.rule);
            Case {
                id: data.id.clone(),
                title: data.title.clone(),
                roles: data.roles.clone(),
                edition: data.edition,
                rule,
                level: data.level.unwrap_or(rule.level),
                note: data.note.clone(),
                needs: data.needs.clone(),
                body: Body::Data(Box::new(data)),
            }
        })
        .collect()
}
