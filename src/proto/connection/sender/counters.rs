use super::Sender;
use crate::proto::connection::counters::Traffic;

impl Sender {
    /// Returns counts of the traffic sent so far; see [`Traffic`]. Feature `counters`.
    pub fn counters(&self) -> Traffic {
        let writes = self.out.writes;
        Traffic { calls: writes.calls, wire: writes.bytes, ..self.encoder.tally }
    }
}
