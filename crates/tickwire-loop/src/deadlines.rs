use tickwire::Time;

/// A heap with at most one deadline for each id. Ids are small numbers, so that is found without a
/// search.
///
/// Invariant: `heap[at]` is never earlier than its parent, `heap[(at - 1) / 2]`. `places[id]` is
/// `at + 1` exactly if `heap[at]` belongs to `id`.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Vec<(Time, u32)>,
    /// By id, the index in `heap` plus 1, or 0 without a deadline.
    places: Vec<u32>,
}

impl Deadlines {
    pub(crate) fn first(&self) -> Option<Time> {
        self.heap.first().map(|&(time, _)| time)
    }

    pub(crate) fn pop_due(&mut self, now: Time) -> Option<u32> {
        let &(time, id) = self.heap.first()?;
        (time <= now).then(|| {
            self.remove(id);
            id
        })
    }

    /// An earlier deadline stays: the turn that it causes sets the later one.
    pub(crate) fn set_no_later(&mut self, id: u32, time: Time) {
        let at = self.place(id).unwrap_or(self.heap.len());
        match self.heap.get_mut(at) {
            Some((armed, _)) if *armed <= time => return,
            Some((armed, _)) => *armed = time,
            None => {
                let known = self.places.len().max(id as usize + 1);
                self.places.resize(known, 0);
                self.heap.push((time, id));
            }
        }
        self.settle(at);
    }

    pub(crate) fn remove(&mut self, id: u32) {
        let Some(at) = self.place(id) else { return };
        self.heap.swap_remove(at); // unlike `Vec::remove`, this moves only one entry
        self.note(id, 0);
        if at < self.heap.len() {
            self.settle(at); // the entry that was the last is here now
        }
    }

    #[inline]
    fn place(&self, id: u32) -> Option<usize> {
        (*self.places.get(id as usize)? as usize).checked_sub(1)
    }

    fn note(&mut self, id: u32, place: usize) {
        if let Some(of) = self.places.get_mut(id as usize) {
            *of = place as u32;
        }
    }

    fn settle(&mut self, mut at: usize) {
        // At most one of the two loops moves the entry.
        while let Some(parent) = at.checked_sub(1).map(|above| above / 2)
            && self.heap.get(at) < self.heap.get(parent)
        {
            self.swap(at, parent);
            at = parent;
        }
        loop {
            let left = 2 * at + 1;
            let right = 2 * at + 2;
            let child = match (self.heap.get(left), self.heap.get(right)) {
                (Some(l), Some(r)) if r < l => right,
                (Some(_), _) => left,
                (None, _) => break,
            };
            if self.heap.get(at) <= self.heap.get(child) {
                break;
            }
            self.swap(at, child);
            at = child;
        }
        if let Some(&(_, id)) = self.heap.get(at) {
            self.note(id, at + 1);
        }
    }

    /// The caller notes the new place of the entry that comes to `b`.
    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        if let Some(&(_, id)) = self.heap.get(a) {
            self.note(id, a + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, time::Duration};
    use testkit::Rng;

    #[test]
    fn it_gives_what_a_sorted_map_gives() {
        let mut deadlines = Deadlines::default();
        let mut model: BTreeMap<u32, Time> = BTreeMap::new();
        let mut rng = Rng::new(1);
        for _ in 0..20_000 {
            let id = rng.below(50);
            let time = Time::new(Duration::from_millis(rng.below(1000)));
            match rng.below(4) {
                0 => {
                    deadlines.remove(id);
                    deadlines.set_no_later(id, time);
                    model.insert(id, time);
                }
                1 => {
                    deadlines.set_no_later(id, time);
                    let armed = model.entry(id).or_insert(time);
                    *armed = (*armed).min(time);
                }
                2 => {
                    deadlines.remove(id);
                    model.remove(&id);
                }
                _ => {
                    let due = deadlines.pop_due(time);
                    assert_eq!(due.is_some(), model.values().any(|at| *at <= time));
                    if let Some(id) = due {
                        let at = model.remove(&id);
                        assert!(model.values().all(|other| at.is_some_and(|at| at <= *other)));
                    }
                }
            }
            assert_eq!(deadlines.first(), model.values().min().copied());
        }
    }
}
