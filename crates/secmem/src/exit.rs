//! The immediate end of the process.

/// Ends the process at once, with `code`: no destructor, no `atexit` handler,
/// no flush of anything runs.
///
/// For a node whose storage failed: the destructors of a database on a disk
/// that hangs would hang too, and what is not durable by then must not become
/// so on the way out.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` (POSIX.1-2017) takes any integer, touches no memory of
    // ours and does not return.
    unsafe { libc::_exit(code) }
}
