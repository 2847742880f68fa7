//! Our own death as PID 1: the kernel panics when PID 1 ends, so it must not. A panic or a fatal
//! signal is written down, and then this program is executed anew in the same process: the new
//! instance removes what the old one has left and starts the pods again. One that crashes time and
//! again resets the machine instead.
//!
//! What runs after the crash may find anything broken, the heap included: it takes no memory, no
//! lock, and calls only what signal-safety(7) allows. Everything it needs is prepared by
//! [`install`].

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, Ordering};
use std::ffi::CString;
use std::fs::OpenOptions;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::PanicHookInfo;

use super::{clock, kmsg};

/// The environment variable by which one instance tells the next of its end: `COUNT:SECONDS`,
/// crashes in a row, and when the first of them was (seconds on the clock of `clock.rs`).
const VARIABLE: &str = "OUTRIGGER_CRASHES";

/// This many crashes within [`WINDOW_SECONDS`] reset the machine. The first could be chance, a
/// second one the state of a device that a restart does not clear.
const CRASHES_MAX: u32 = 3;

/// Unit: seconds. Longer than it takes any pod to be started and to trigger the same again.
const WINDOW_SECONDS: u64 = 600;

/// How long the file systems may take to be written before the reset. Unit: tenths of a second.
const SYNC_PATIENCE: u32 = 50;

/// What a shell shows for a process that abort(3) has ended.
const ABORTED: c_int = 128 + libc::SIGABRT;

/// The signals that come of a mistake of ours. Heap exhaustion and a panic within a panic abort.
const SIGNALS: [(c_int, &str); 7] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGSYS, "SIGSYS"),
    (libc::SIGTRAP, "SIGTRAP"),
];

/// The handlers' own stack: that of the program may be what has overflowed. The kernel's frame
/// takes some 3 KiB, more with vector units (sigaltstack(2)).
const STACK_BYTES: usize = 32 * 1024;

/// Everything that is needed after the crash. Made once, never freed.
struct Prepared {
    /// A fork of us between fork and exec is not us.
    pid: libc::pid_t,
    /// Ends with null, as the next two.
    argv: Box<[*const c_char]>,
    /// The first one is `variable`.
    envp: Box<[*const c_char]>,
    /// Room for `VARIABLE=COUNT:SECONDS` and NUL.
    variable: *mut Text,
    before: Option<Crashes>,
}

static PREPARED: AtomicPtr<Prepared> = AtomicPtr::new(core::ptr::null_mut());

/// Crashes of this instance: one may happen while the one before is dealt with.
static DEPTH: AtomicU8 = AtomicU8::new(0);

static KMSG: AtomicI32 = AtomicI32::new(-1);
static CONSOLE: AtomicI32 = AtomicI32::new(-1);
/// pstore's log of user space, which a reset does not clear where the hardware keeps memory.
static PMSG: AtomicI32 = AtomicI32::new(-1);

/// syslog(3): `LOG_DAEMON | LOG_CRIT`, which even a quiet kernel shows on the console.
const LEVEL: u8 = 2;
const RECORD_PREFIX: &[u8] = b"<26>outrigger: ";

/// Has every crash from now on start this program anew. To be called by PID 1 once, first of all;
/// what is said goes to standard error until [`open_outlets`].
pub fn install() {
    let text = |bytes: Vec<u8>| {
        // Neither arguments nor environment can have a NUL in them.
        CString::new(bytes).map_or(core::ptr::null(), |text| text.into_raw().cast_const())
    };
    let variable = Box::into_raw(Box::new(Text::new()));
    let argv = std::env::args_os().map(|arg| text(arg.into_vec())).chain([core::ptr::null()]);
    let rest = std::env::vars_os().filter(|(name, _)| name != VARIABLE).map(|(name, value)| {
        let mut bytes = name.into_vec();
        bytes.push(b'=');
        bytes.extend_from_slice(&value.into_vec());
        text(bytes)
    });
    let prepared = Prepared {
        pid: nix::unistd::getpid().as_raw(),
        argv: argv.collect(),
        envp: core::iter::once(variable.cast::<c_char>().cast_const())
            .chain(rest)
            .chain([core::ptr::null()])
            .collect(),
        variable,
        before: std::env::var(VARIABLE).ok().and_then(|text| Crashes::parse(&text)),
    };
    PREPARED.store(Box::into_raw(Box::new(prepared)), Ordering::Release);
    std::panic::set_hook(Box::new(handle_panic));
    take_signals();
}

/// Whether this instance was started by the crash of another one.
pub fn has_crashed() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Opens what a crash is written to: the kernel's log, the console, pstore; each where there is
/// one. Needs `/dev` and `/proc`.
pub fn open_outlets() {
    let printk = std::fs::read_to_string("/proc/sys/kernel/printk").unwrap_or_default();
    // Where the kernel shows its log on the console, it need not be written there by us.
    let shown = kmsg::console_level(&printk) > LEVEL;
    for (outlet, path, wanted) in
        [(&KMSG, "/dev/kmsg", true), (&CONSOLE, "/dev/console", !shown), (&PMSG, "/dev/pmsg0", true)]
    {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let opened = OpenOptions::new().write(true).custom_flags(flags).open(path);
        if let Some(file) = opened.ok().filter(|_| wanted) {
            // Kept open to the end.
            outlet.store(file.into_raw_fd(), Ordering::Release);
        }
    }
}

/// Crashes in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crashes {
    count: u32,
    /// Unit: seconds on the clock of `clock.rs`.
    first_at: u64,
}

impl Crashes {
    fn parse(text: &str) -> Option<Crashes> {
        let (count, first_at) = text.split_once(':')?;
        Some(Crashes { count: count.parse().ok()?, first_at: first_at.parse().ok()? })
    }

    /// With the one that happens at `now`. What came before the window is forgotten.
    fn with_another(before: Option<Crashes>, now: u64) -> Crashes {
        match before {
            Some(Crashes { count, first_at }) if now.saturating_sub(first_at) <= WINDOW_SECONDS => {
                Crashes { count: count.saturating_add(1), first_at }
            }
            Some(_) | None => Crashes { count: 1, first_at: now },
        }
    }
}

impl fmt::Display for Crashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.count, self.first_at)
    }
}

/// A text that takes no memory when it grows: what does not fit is cut. Ends with NUL.
#[repr(C)]
struct Text {
    bytes: [u8; 800],
    length: usize,
}

impl Text {
    const fn new() -> Text {
        Text { bytes: [0; 800], length: 0 }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte stays NUL. Control characters would break the record or steer a terminal.
        let room = self.bytes.get_mut(self.length..799).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(text.bytes()) {
            *to = if from.is_ascii_control() { b' ' } else { from };
            self.length += 1;
        }
        Ok(())
    }
}

fn handle_panic(info: &PanicHookInfo<'_>) {
    let mut text = Text::new();
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().copied();
    let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    // Writing into a Text does not fail.
    let _ = match info.location() {
        Some(at) => write!(text, "panic at {}:{}: ", at.file(), at.line()),
        None => write!(text, "panic: "),
    };
    let _ = text.write_str(message.unwrap_or("no message"));
    go_on_after(&text)
}

/// sigaction(2) for all of [`SIGNALS`], on a stack of their own.
#[allow(unsafe_code, reason = "nix's sigaction is unsafe as well, and has no alternate stack")]
fn take_signals() {
    let stack = Box::leak(vec![0_u8; STACK_BYTES].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK_BYTES };
    // SAFETY: the stack is never freed. A zeroed sigaction is a valid one, and has an empty mask;
    // the handler has the signature that SA_SIGINFO asks for and keeps to async-signal-safe calls.
    unsafe {
        libc::sigaltstack(&stack, core::ptr::null_mut());
        for (signal, _) in SIGNALS {
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = handle_signal as *const () as usize;
            // SA_NODEFER: a fault within the handler comes here again, and not, as one that is
            // blocked would, straight to the kernel's panic.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigaction(signal, &action, core::ptr::null_mut());
        }
    }
}

#[allow(unsafe_code, reason = "what the kernel says of a signal is a union")]
extern "C" fn handle_signal(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    let mut text = Text::new();
    let name = SIGNALS.iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| name);
    let _ = text.write_str(name);
    // SAFETY: with SA_SIGINFO the kernel gives a valid siginfo_t; which part of the union it has
    // filled is told by si_code: positive for a fault, with an address, else a sender.
    let (fault, address, sender) = unsafe {
        let info = &*info;
        (info.si_code > 0, info.si_addr() as usize, info.si_pid())
    };
    let _ = match signal {
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP if fault => {
            write!(text, " at address {address:#x}")
        }
        libc::SIGSYS if fault => Ok(()),
        _ if sender == nix::unistd::getpid().as_raw() => Ok(()),
        _ => write!(text, " from process {sender}"),
    };
    go_on_after(&text)
}

/// Writes down what has happened, and starts anew or resets.
#[allow(unsafe_code, reason = "what was prepared is behind a pointer, and ending is a call of libc")]
fn go_on_after(what: &Text) -> ! {
    // SAFETY: the pointer is null, or a Prepared that is never freed and written nowhere else.
    let prepared = unsafe { PREPARED.load(Ordering::Acquire).as_ref() };
    let us = nix::unistd::getpid().as_raw();
    let Some(prepared) = prepared.filter(|prepared| prepared.pid == us) else {
        // SAFETY: ends this process, which is a fork of us that has become nothing else yet.
        unsafe { libc::_exit(ABORTED) }
    };
    let depth = DEPTH.fetch_add(1, Ordering::AcqRel);
    let now = clock::now().as_nanos() / 1_000_000_000;
    let crashes = Crashes::with_another(prepared.before, now);
    let again = crashes.count < CRASHES_MAX;
    // The second time it was the writing that has crashed; the third time, starting anew.
    if depth == 0 {
        let mut text = Text::new();
        let _ = text.write_str(core::str::from_utf8(what.as_bytes()).unwrap_or("a crash"));
        let next = if again { "starting anew" } else { "resetting the machine" };
        let _ = write!(text, "; crash {} of {CRASHES_MAX} in {WINDOW_SECONDS} s, {next}", crashes.count);
        say(&text);
    }
    if again && depth < 2 {
        start_anew(prepared, crashes);
    }
    if depth == 0 {
        sync_for_a_while();
    }
    reset()
}

/// Writes to all outlets that are open; to standard error where there is none.
#[allow(unsafe_code, reason = "write(2) on descriptors that are kept as numbers")]
fn say(text: &Text) {
    let put = |outlet: c_int, parts: [&[u8]; 3]| {
        let parts =
            parts.map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
        // SAFETY: each part outlives the call, which only reads them. A number that is no
        // descriptor is refused.
        unsafe { libc::writev(outlet, parts.as_ptr(), 3) > 0 }
    };
    let line: [&[u8]; 3] = [b"outrigger: error: ", text.as_bytes(), b"\n"];
    put(PMSG.load(Ordering::Acquire), line);
    let logged = put(KMSG.load(Ordering::Acquire), [RECORD_PREFIX, text.as_bytes(), b""]);
    let console = CONSOLE.load(Ordering::Acquire);
    if console >= 0 || !logged {
        put(if console >= 0 { console } else { libc::STDERR_FILENO }, line);
    }
}

/// Executes this program in its own place. Returns if that cannot be done.
#[allow(unsafe_code, reason = "execve(2) with what was prepared, and the signal mask before it")]
fn start_anew(prepared: &Prepared, crashes: Crashes) {
    // SAFETY: nobody else has this pointer, and it is never freed.
    let variable = unsafe { &mut *prepared.variable };
    *variable = Text::new();
    let _ = write!(variable, "{VARIABLE}={crashes}");
    // SAFETY: argv and envp are arrays of strings that end with null and are never freed. The mask
    // is emptied because exec keeps it, with the signal in it in whose handler we may be.
    unsafe {
        let mut none: libc::sigset_t = core::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, core::ptr::null_mut());
        // Closes our descriptors, all of which are close-on-exec; the hardware watchdog goes on
        // running through that, as it is not stopped by closing alone.
        libc::execve(PROGRAM.as_ptr(), prepared.argv.as_ptr(), prepared.envp.as_ptr());
    }
    let mut text = Text::new();
    let _ = write!(text, "cannot start anew: {}", nix::errno::Errno::last().desc());
    say(&text);
}

/// This very program, also when its file was replaced since. Needs `/proc`.
const PROGRAM: &CStr = c"/proc/self/exe";

/// sync(2) in a child, as it may take for ever.
#[allow(unsafe_code, reason = "fork(2) is not async-signal-safe in every C library; clone(2) is")]
fn sync_for_a_while() {
    let (flags, none): (libc::c_long, libc::c_long) = (libc::SIGCHLD.into(), 0);
    // SAFETY: without CLONE_VM and a stack this is fork(2); the child makes two calls and ends.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    if child == 0 {
        // SAFETY: plain calls without arguments in memory.
        unsafe {
            libc::sync();
            libc::_exit(0);
        }
    }
    #[allow(clippy::cast_possible_truncation, reason = "as wide as a register, it holds a process or -1")]
    let child = child as libc::pid_t;
    for _ in 0..SYNC_PATIENCE {
        // SAFETY: no status is asked for, and there are no descriptors to watch.
        unsafe {
            if child < 0 || libc::waitpid(child, core::ptr::null_mut(), libc::WNOHANG) != 0 {
                return;
            }
            libc::poll(core::ptr::null_mut(), 0, 100);
        }
    }
}

/// `reboot(RB_AUTOBOOT)`. Where that is refused: for ever nothing, until the hardware watchdog
/// comes. Any other process than PID 1 just ends.
#[allow(unsafe_code, reason = "the last calls of this program")]
fn reset() -> ! {
    // SAFETY: calls without arguments in memory.
    unsafe {
        if libc::getpid() != 1 {
            libc::_exit(ABORTED);
        }
        libc::reboot(libc::RB_AUTOBOOT);
        loop {
            libc::pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_are_counted_within_the_window() {
        for (before, now, expected) in [
            (None, 5, "1:5"),
            (Some("1:5"), 6, "2:5"),
            (Some("2:5"), 605, "3:5"),
            (Some("2:5"), 606, "1:606"),
            (Some("4294967295:5"), 6, "4294967295:5"),
            // No clock goes back; if it did, the count goes on.
            (Some("1:50"), 6, "2:50"),
            (Some("nonsense"), 7, "1:7"),
            (Some("1:"), 7, "1:7"),
        ] {
            let before = before.and_then(Crashes::parse);
            assert_eq!(Crashes::with_another(before, now).to_string(), expected, "{before:?} {now}");
        }
    }

    #[test]
    fn a_text_is_cut_and_has_one_line() {
        let mut text = Text::new();
        write!(text, "a\nb\x1b[2J {}", "x".repeat(2000)).unwrap();
        assert!(text.as_bytes().starts_with(b"a b [2J xxx"));
        assert_eq!((text.length, text.bytes[799]), (799, 0));
    }
}
