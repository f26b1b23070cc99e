//! The allocator's memory.

/// Gives back to the system what the allocator holds and nothing uses: a round over ten thousand
/// addresses needs many times what stays.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
