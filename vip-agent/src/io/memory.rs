//! Memory that the allocator keeps for later.

/// Gives freed memory back to the kernel. A round over ten thousand VIPs, or the first list of a
/// thousand Services, takes for a moment what is not needed again.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a plain number; the allocator locks what it walks (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0)
    };
}
