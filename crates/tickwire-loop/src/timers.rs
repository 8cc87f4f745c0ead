//! The application's timers. Their deadlines are in the loop's heap.

/// Names a timer, so that you can cancel it. Once the timer has fired, it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer {
    at: u32,
    generation: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// For each place: its generation, and the application's number while its timer is set.
    places: Vec<(u32, Option<u64>)>,
    free: Vec<u32>,
}

impl Timers {
    /// Makes a timer. Returns it, and its id in the heap of deadlines.
    pub(crate) fn set(&mut self, number: u64) -> (Timer, u32) {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() as u32 - 1
        });
        let mut generation = 0;
        if let Some(place) = self.places.get_mut(at as usize) {
            place.1 = Some(number);
            generation = place.0;
        }
        (Timer { at, generation }, at << 1 | 1)
    }

    /// Fires or cancels the timer with this id: frees its place, and returns its number.
    pub(crate) fn take(&mut self, id: u32) -> Option<u64> {
        let at = id >> 1;
        let (generation, number) = self.places.get_mut(at as usize)?;
        let number = number.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(at);
        Some(number)
    }

    /// Cancels a timer. Returns its id in the heap, and its number. `None` if it is no longer set.
    pub(crate) fn cancel(&mut self, timer: Timer) -> Option<(u32, u64)> {
        let &(generation, _) = self.places.get(timer.at as usize)?;
        let id = timer.at << 1 | 1;
        (generation == timer.generation).then(|| self.take(id).map(|number| (id, number)))?
    }
}
