use alloc::vec::Vec;

/// From a key to the number of its entry: a hash table with linear probing, which allocates only to
/// grow.
#[derive(Default)]
pub(super) struct Index {
    /// A power of two, or none; at most half are taken.
    slots: Vec<Option<(u64, u64)>>,
    taken: usize,
}

impl Index {
    pub(super) fn get(&self, key: u64) -> Option<u64> {
        self.slots.get(self.find(key)?).copied()?.map(|(_, number)| number)
    }

    /// `key` must not be in the table yet.
    pub(super) fn insert(&mut self, key: u64, number: u64) {
        if self.taken * 2 >= self.slots.len() {
            self.grow();
        }
        let at = self.find(key);
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            *slot = Some((key, number));
            self.taken += 1;
        }
    }

    pub(super) fn remove(&mut self, key: u64) {
        let Some(mut hole) = self.find(key) else { return };
        let Some(Some(_)) = self.slots.get_mut(hole).map(Option::take) else { return };
        self.taken -= 1;
        // `find` stops at a hole, so the next key whose search passes this one moves here, and
        // leaves a new hole. Otherwise `find` would no longer find it.
        let mask = self.slots.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(&Some((other, _))) = self.slots.get(at) else { return };
            let way = at.wrapping_sub(self.home(other)) & mask;
            if way >= at.wrapping_sub(hole) & mask {
                self.slots.swap(at, hole);
                hole = at;
            }
        }
    }

    /// Or the free slot where the key would go. `None` if there are no slots.
    fn find(&self, key: u64) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = self.home(key);
        while self.slots.get(at)?.is_some_and(|(other, _)| other != key) {
            at = (at + 1) & mask;
        }
        Some(at)
    }

    fn home(&self, key: u64) -> usize {
        // The high bits of a key's product with 2⁶⁴ / φ put neighbouring keys far apart.
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> 32) as usize & self.slots.len().saturating_sub(1)
    }

    fn grow(&mut self) {
        let double = (self.slots.len() * 2).max(16);
        let old = core::mem::replace(&mut self.slots, alloc::vec![None; double]);
        self.taken = 0; // `insert` counts again
        for (key, number) in old.into_iter().flatten() {
            self.insert(key, number);
        }
    }
}

#[cfg(test)]
mod tests;
