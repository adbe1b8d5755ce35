//! The allocator of the programs.
//!
//! A caching allocator helps: tensors are allocated and freed by the megabyte. The system allocator returns their memory and
//! then waits for it to be zeroed again; mimalloc reuses it. [`keep_memory`] tells mimalloc never to return memory while the
//! program runs.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's `mi_option_purge_delay`: milliseconds until unused memory is returned to the system; -1 is never.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Call this before creating tensors.
pub fn keep_memory() {
    // Safety: the function may be called at any time from any thread; it is `unsafe` only because it is a C function.
    #[allow(unsafe_code)]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
}
