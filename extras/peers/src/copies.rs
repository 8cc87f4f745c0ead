//! Counts the bytes that copies and fills move in memory: this program's `memcpy`, `memmove` and
//! `memset`. Only with the feature `copies`: they are slower than the C library's, so times of such
//! a build mean nothing.

#[cfg(feature = "copies")]
mod counting {
    #![allow(unsafe_code)] // stands in for the C library
    use std::arch::asm;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    pub(super) static COPIED: AtomicU64 = AtomicU64::new(0);
    pub(super) static FILLED: AtomicU64 = AtomicU64::new(0);

    // SAFETY, of all three: the caller's promises are the C library's, and `rep` does the work with
    // the direction flag clear at the start and at the end.

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        COPIED.fetch_add(n as u64, Relaxed);
        unsafe {
            asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        COPIED.fetch_add(n as u64, Relaxed);
        if (to as usize).wrapping_sub(from as usize) >= n {
            unsafe {
                asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
                    options(nostack, preserves_flags));
            }
        } else {
            unsafe {
                asm!("std", "rep movsb", "cld", inout("rcx") n => _,
                    inout("rdi") to.wrapping_add(n).wrapping_sub(1) => _,
                    inout("rsi") from.wrapping_add(n).wrapping_sub(1) => _, options(nostack));
            }
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
        FILLED.fetch_add(n as u64, Relaxed);
        unsafe {
            asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") byte as u8,
                options(nostack, preserves_flags));
        }
        to
    }
}

/// The bytes copied and filled so far; zeros without the feature. The masking copy of a client and
/// the kernel's own copies are not among them.
pub fn counts() -> (u64, u64) {
    #[cfg(feature = "copies")]
    return {
        use std::sync::atomic::Ordering::Relaxed;
        (counting::COPIED.load(Relaxed), counting::FILLED.load(Relaxed))
    };
    #[cfg(not(feature = "copies"))]
    (0, 0)
}

pub const COUNTS: bool = cfg!(feature = "copies");
