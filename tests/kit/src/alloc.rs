//! An allocator that counts what it is asked for: by thread, and what all threads have in use.
#![allow(unsafe_code)]
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
};

static EVERYWHERE: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// How often this thread has allocated.
pub fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// How many bytes more this thread has allocated than freed.
pub fn live() -> i64 {
    LIVE.get()
}

/// How many bytes more all threads have allocated than freed.
pub fn live_everywhere() -> i64 {
    EVERYWHERE.load(Relaxed)
}

/// The most that `live` has been since this was last asked.
pub fn take_peak() -> i64 {
    PEAK.replace(LIVE.get())
}

/// How many allocations `f` makes.
pub fn count(f: impl FnOnce()) -> u64 {
    let before = allocations();
    f();
    allocations() - before
}

/// By how much what is allocated grows beyond now while `f` runs, at its peak.
pub fn peak(f: impl FnOnce()) -> i64 {
    let before = live();
    take_peak();
    f();
    take_peak() - before
}

/// Runs `f` as if it allocated nothing: for what a test keeps for itself. None of it may be freed
/// on this thread while that is counted.
pub fn uncounted<T>(f: impl FnOnce() -> T) -> T {
    let before = (ALLOCATIONS.get(), LIVE.get(), PEAK.get());
    let made = f();
    ALLOCATIONS.set(before.0);
    LIVE.set(before.1);
    PEAK.set(before.2);
    made
}

/// To be made the `#[global_allocator]`.
pub struct Counting;

fn note(bytes: i64) {
    EVERYWHERE.fetch_add(bytes, Relaxed);
    // `try_with`: a thread that ends still frees.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        if bytes > 0 {
            let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
        }
    });
}

// SAFETY: every call is passed on to `System` unchanged; the counters are an atomic, and `Cell`s in
// `const` thread-locals without destructors, so that they neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as i64);
        // SAFETY: the caller's promises about `layout` are those `System` asks for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as i64);
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        note(-(layout.size() as i64));
        // SAFETY: `ptr` came from `alloc` above, and so from `System`, with this `layout`.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(-(layout.size() as i64));
        note(size as i64);
        // SAFETY: as for `dealloc`; the caller's promises about `size` are those `System` asks for.
        unsafe { System.realloc(ptr, layout, size) }
    }
}
