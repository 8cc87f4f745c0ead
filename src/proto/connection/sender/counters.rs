use super::Sender;
use crate::proto::connection::counters::Counters;

impl Sender {
    /// Returns counts of the traffic sent so far; see [`Counters`]. Feature `counters`.
    pub fn counters(&self) -> Counters {
        let writes = self.out.writes;
        Counters { calls: writes.calls, wire: writes.bytes, ..self.encoder.counters }
    }
}
