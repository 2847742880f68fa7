//! Descriptors 0, 1 and 2 are open before anything else runs.
//!
//! A kernel without a console starts PID 1 with all three closed. Rust's runtime then opens
//! `/dev/null` in their place, before `main`, and aborts if there is none, which on an initramfs
//! without device nodes is the end of the kernel. So something is put there even before that.

use core::ffi::c_int;

/// The C library calls what stands in this section before `main`, and so before Rust's runtime.
#[used]
#[allow(unsafe_code, reason = "a section with a meaning to the linker")]
// SAFETY: the section holds pointers to functions that take and return nothing, as this one.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = fill_in;

/// `open("/")`, which is there on every machine, as often as it takes; reading and writing fail.
/// Nothing changes where all three are open.
#[allow(unsafe_code, reason = "runs before Rust's runtime, so nothing of it may be used")]
extern "C" fn fill_in() {
    for fd in 0..=2 {
        // SAFETY: plain calls; the path is a constant that ends with NUL. Descriptors below this
        // one are open, so open(2) takes this number, the lowest one.
        unsafe {
            if is_closed(fd) && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) < 0 {
                libc::open(c"/".as_ptr(), libc::O_RDONLY);
            }
        }
    }
}

#[allow(unsafe_code, reason = "see fill_in")]
fn is_closed(fd: c_int) -> bool {
    // SAFETY: F_GETFD takes no argument.
    unsafe { libc::fcntl(fd, libc::F_GETFD) < 0 }
}
