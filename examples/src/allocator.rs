//! The allocator of the examples and benchmarks.
//!
//! Tensors come and go by the megabyte. mimalloc keeps their memory for the next ones; the system's allocator gives it back, and
//! then waits for it to be cleared again. [`keep_memory`] tells it to keep all of it, for as long as the program runs.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's `mi_option_purge_delay`: the milliseconds until unused memory goes back to the system; -1 is never.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Call it before there are tensors.
pub fn keep_memory() {
    // Safety: the function is safe to call at any time, from any thread; it is `unsafe` for being C's.
    #[allow(unsafe_code)]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
}
