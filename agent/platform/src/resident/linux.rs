//! Memory is given back with `madvise`, by the kernel's account of this process's mappings.
#![expect(
    unsafe_code,
    reason = "memory is given back by its address, and the C library's allocator is set up by mallopt only"
)]

use super::unchanged;
use rustix::mm::{Advice, madvise};

#[cfg(target_env = "gnu")]
pub(super) fn be_small() {
    // SAFETY: mallopt takes two numbers and changes nothing but the allocator's own settings; it is told of no pointer.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(not(target_env = "gnu"))]
pub(super) fn be_small() {}

pub(super) fn give_back() {
    let Ok(program) = std::env::current_exe() else { return };
    let Ok(mappings) = std::fs::read_to_string("/proc/self/smaps") else { return };
    for (begin, length) in unchanged(&mappings, &program.to_string_lossy()) {
        let address = std::ptr::with_exposed_provenance_mut(begin);
        // SAFETY: the range is a mapping of the program's or the C library's own file, which nothing unmaps while the process
        // lives. It is private and cannot be written to, and the kernel says that no page of it differs from the file, so what is
        // read there after this is what was read there before.
        let _ = unsafe { madvise(address, length, Advice::LinuxDontNeed) };
    }
}
