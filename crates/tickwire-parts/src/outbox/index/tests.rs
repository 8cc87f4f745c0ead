use super::Index;
use alloc::collections::{BTreeMap, btree_map::Entry};
use proptest::{collection, prelude::*};

const CALLS: usize = if cfg!(miri) { 15 } else { 400 };

proptest! {
    /// The table is small, and many of its few keys are neighbours, so every shift in `remove`
    /// occurs.
    #[test]
    fn the_index_is_a_map(calls in collection::vec((0_u64..40, any::<bool>()), 0..CALLS)) {
        let mut index = Index::default();
        let mut map = BTreeMap::new();
        for (number, (key, insert)) in calls.into_iter().enumerate() {
            let key = key.wrapping_mul(1 << (key % 3 * 31)); // some keys share a `home`
            if !insert {
                index.remove(key);
                map.remove(&key);
            } else if let Entry::Vacant(free) = map.entry(key) {
                index.insert(key, number as u64);
                free.insert(number as u64);
            }
            prop_assert_eq!(index.taken, map.len());
            prop_assert!(index.taken * 2 <= index.slots.len(), "searches stay short");
            for key in (0..40).flat_map(|key: u64| [key, key << 31, key << 62]) {
                prop_assert_eq!(index.get(key), map.get(&key).copied());
            }
        }
    }
}
