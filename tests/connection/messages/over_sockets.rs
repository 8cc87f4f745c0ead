//! Chunks cut inside a character, over sockets of this machine, with the heap counted.
use crate::{
    harness::{ADAPTERS, Door, Foe, SMALL, duel, patient},
    support::wire::{CLOSE, ROLES, TEXT, arrive, connection, frame_to},
};
use tickwire::Step;

// A85
#[test]
fn a_text_frame_cut_inside_a_character_can_be_shown() {
    let said = "a\u{e9}\u{20ac}\u{1f600}".repeat(20);
    for role in ROLES {
        let wire = [frame_to(role, TEXT, &said), frame_to(role, CLOSE, "")].concat();
        for &adapter in ADAPTERS {
            let defend = move |door: Door| {
                let mut ws = door.open(role, &patient());
                let (mut seen, mut inside) = (Vec::new(), 0);
                while let Some(chunk) = ws.recv_chunk().unwrap() {
                    let shown = format!("{chunk:?}");
                    assert!(shown.is_ascii(), "{shown}");
                    inside += usize::from(str::from_utf8(chunk.data).is_err());
                    seen.extend_from_slice(chunk.data);
                }
                (String::from_utf8(seen).unwrap(), inside)
            };
            let ((seen, inside), _, heap) = duel(adapter, defend, |io| {
                let mut foe = Foe::new(role, io);
                foe.shake();
                for byte in &wire {
                    foe.wire([*byte]);
                }
                foe.end();
                foe.rest()
            });
            assert_eq!(seen, said);
            println!("{inside} chunks cut inside a character");
            heap.under(format_args!("{adapter:?} {role:?}"), SMALL);
        }
        // However it is cut: through the core, where no socket joins the pieces again.
        for cut in 1..wire.len() {
            let mut conn = connection(role, &patient());
            let mut seen = Vec::new();
            for piece in [&wire[..cut], &wire[cut..]] {
                arrive(&mut conn, piece);
                while !matches!(conn.step_chunk(), Ok(Step::NeedInput | Step::Closed)) {
                    let Some(chunk) = conn.receiver().chunk() else { continue }; // the Close
                    assert!(format!("{chunk:?}").is_ascii());
                    seen.extend_from_slice(chunk.data);
                }
            }
            assert_eq!(seen, said.as_bytes(), "{cut}");
        }
    }
}
