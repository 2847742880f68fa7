//! A new process: made straight in its cgroup, with nothing of ours but what it is given.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::config::plan::User;

/// What is to be run, and where.
pub struct Command<'a> {
    /// The program's path. PATH is not searched.
    pub program: CString,
    /// Its arguments, its own name first.
    pub args: Vec<CString>,
    /// Its environment, `NAME=value`.
    pub env: Vec<CString>,
    /// Its standard input, output and error. None of them may be 0, 1 or 2 unless in its place.
    pub stdio: [BorrowedFd<'a>; 3],
    /// A pipe into which the child writes four bytes if it cannot become the program: see
    /// [`exec_error`]. Closed by becoming it.
    pub exec_error: BorrowedFd<'a>,
    /// Who it becomes, without supplementary groups. `None`: it stays who we are.
    pub user: Option<User>,
    /// Where it starts; entered as that user. `None`: where we are.
    pub working_directory: Option<CString>,
    /// Its cgroup in the unified hierarchy, if there is one.
    pub cgroup: Option<Cgroup<'a>>,
    /// `cgroup.procs`, open for writing, of its cgroups in further hierarchies.
    pub further_procs: &'a [BorrowedFd<'a>],
    /// Whether it gets a mount namespace of its own, in which the unified hierarchy is all that
    /// is at `/sys/fs/cgroup`: crun refuses to work on a host that has both kinds there.
    pub unified_view: bool,
    /// Whether its standard input, if that is a terminal, becomes the controlling terminal of its
    /// session, taken from whoever has it.
    pub terminal: bool,
    /// What the OOM killer is told about it, -1000 to 1000. `None`: what it is told about us.
    pub oom_score_adj: Option<i32>,
}

/// A cgroup of the unified hierarchy.
#[derive(Clone, Copy, Debug)]
pub struct Cgroup<'a> {
    /// Its directory.
    pub directory: BorrowedFd<'a>,
    /// Its `cgroup.procs`, open for writing, for kernels that cannot make a process there.
    pub procs: BorrowedFd<'a>,
}

/// A process that was made.
#[derive(Debug)]
pub struct Spawned {
    /// Its number, ours until it is reaped.
    pub pid: Pid,
    /// Its descriptor, where the kernel has such (Linux 5.3).
    pub pidfd: Option<OwnedFd>,
}

/// What does not change from one process to the next.
#[derive(Clone, Copy, Debug)]
pub struct Spawner {
    /// What this kernel cannot do.
    pub lacks: Lacks,
    /// How many descriptors a child may have: what we were given, not what we raised it to.
    descriptors: libc::rlimit,
}

impl Spawner {
    /// Takes note of what children inherit, and raises our own number of descriptors to what is
    /// allowed: each container needs some ten of them. setrlimit(2); that it fails shows later.
    #[allow(unsafe_code, reason = "nix's wrapper would be one more feature for two calls")]
    pub fn prepare() -> Spawner {
        let mut descriptors = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
        // SAFETY: both calls read or write one structure that outlives them.
        unsafe {
            if libc::getrlimit(libc::RLIMIT_NOFILE, &mut descriptors) == 0 {
                let raised = libc::rlimit { rlim_cur: descriptors.rlim_max, ..descriptors };
                libc::setrlimit(libc::RLIMIT_NOFILE, &raised);
            }
        }
        Spawner { lacks: Lacks::default(), descriptors }
    }

    /// Takes note alone: for children that are made before [`Spawner::prepare`].
    #[allow(unsafe_code, reason = "as above")]
    pub fn take_note() -> Spawner {
        let mut descriptors = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
        // SAFETY: it writes one structure that outlives it.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut descriptors) };
        Spawner { lacks: Lacks::default(), descriptors }
    }

    /// The descriptor of `child`, if one is to be had. Only a kernel without them is remembered; a
    /// lack of descriptors passes.
    pub fn open_pidfd(&mut self, child: Pid) -> Option<OwnedFd> {
        if self.lacks.pidfd {
            return None;
        }
        let opened = super::pidfd::open(child);
        self.lacks.pidfd = opened.as_ref().err() == Some(&Errno::ENOSYS);
        opened.ok()
    }
}

/// What the kernel was found not to be able to do. Each is tried once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lacks {
    /// `clone3` with `CLONE_INTO_CGROUP` (Linux 5.7, clone(2)); seccomp filters forbid it, too.
    pub clone_into_cgroup: bool,
    /// `pidfd_open` (Linux 5.3).
    pub pidfd: bool,
}

/// Makes the process. That the program cannot be executed shows when it ends: see
/// [`exec_error`].
///
/// Fails with `EAGAIN` (a limit of processes), `ENOMEM`, or what the cgroup refuses.
pub fn spawn(command: &Command, spawner: &mut Spawner) -> nix::Result<Spawned> {
    let descriptors = spawner.descriptors;
    let argv = pointers(&command.args);
    let envp = pointers(&command.env);
    let oom_score_adj = command.oom_score_adj.map(|value| value.to_string());
    let prepared =
        Prepared { descriptors, argv: &argv, envp: &envp, oom_score_adj: oom_score_adj.as_deref() };
    if let Some(cgroup) = command.cgroup.filter(|_| !spawner.lacks.clone_into_cgroup) {
        match clone_into(cgroup.directory) {
            Ok(Clone::Child) => become_program(command, None, &prepared),
            Ok(Clone::Parent(spawned)) => return Ok(spawned),
            // Not known, or an unknown flag: this kernel is older. EPERM: a filter.
            Err(Errno::ENOSYS | Errno::EINVAL | Errno::E2BIG | Errno::EPERM) => {
                spawner.lacks.clone_into_cgroup = true
            }
            Err(errno) => return Err(errno),
        }
    }
    match fork()? {
        Clone::Child => become_program(command, command.cgroup, &prepared),
        Clone::Parent(mut spawned) => {
            spawned.pidfd = spawner.open_pidfd(spawned.pid);
            Ok(spawned)
        }
    }
}

/// Why a child could not become its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecError {
    /// What it could not do.
    pub stage: Stage,
    /// The system's reason.
    pub errno: Errno,
}

/// What a child does on its way to its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// To execute it, or whatever is done for every program before that.
    Execute = 0,
    /// To become its user.
    TakeUser = 1,
    /// To enter its working directory.
    EnterDirectory = 2,
}

/// The error with which a child failed to become its program, from what came through
/// [`Command::exec_error`]. A program that got so far as to say something says it in text, which
/// is no small number.
pub fn exec_error(bytes: &[u8]) -> Option<ExecError> {
    let number = i32::from_ne_bytes(bytes.try_into().ok()?);
    let stages = [Stage::Execute, Stage::TakeUser, Stage::EnterDirectory];
    let stage = stages.into_iter().find(|stage| *stage as i32 == number >> STAGE_SHIFT)?;
    let errno = number & ((1 << STAGE_SHIFT) - 1);
    (1..4096).contains(&errno).then(|| ExecError { stage, errno: Errno::from_raw(errno) })
}

/// The stage stands above the number of the error.
const STAGE_SHIFT: i32 = 16;

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([core::ptr::null()]).collect()
}

/// `struct clone_args` of clone(2), as of Linux 5.7. libc has it for 64-bit targets only; it is the
/// same for all: every field is aligned as eight bytes.
#[derive(Default)]
#[repr(C, align(8))]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const _: () = assert!(size_of::<CloneArgs>() == 88, "CLONE_ARGS_SIZE_VER2 of linux/sched.h");

/// Not libc's constant: its type is too small for this bit.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

enum Clone {
    Child,
    Parent(Spawned),
}

/// `clone3(CLONE_PIDFD | CLONE_INTO_CGROUP)`, otherwise like fork: Linux 5.7, clone(2).
#[allow(unsafe_code, reason = "neither libc nor nix has a wrapper for clone3")]
fn clone_into(cgroup: BorrowedFd<'_>) -> nix::Result<Clone> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: u64::from(libc::CLONE_PIDFD.unsigned_abs()) | CLONE_INTO_CGROUP,
        pidfd: core::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        cgroup: u64::from(cgroup.as_raw_fd().unsigned_abs()),
        ..CloneArgs::default()
    };
    // SAFETY: `args` and `pidfd` outlive the call; without CLONE_VM the child has its own copy of
    // this memory and runs on its own copy of this stack, as after fork. This process has one
    // thread, so no lock is held by another.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, core::ptr::from_mut(&mut args), size_of::<CloneArgs>()) };
    match Errno::result(result)? {
        0 => Ok(Clone::Child),
        pid => {
            let pid = Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::ERANGE)?);
            // SAFETY: the call succeeded, so the kernel has put a new descriptor there.
            let pidfd = Some(unsafe { OwnedFd::from_raw_fd(pidfd) });
            Ok(Clone::Parent(Spawned { pid, pidfd }))
        }
    }
}

#[allow(unsafe_code, reason = "fork is unsafe; what the child may do stands in become_program")]
fn fork() -> nix::Result<Clone> {
    // SAFETY: this process has one thread; the child goes straight to `become_program`.
    match Errno::result(unsafe { libc::fork() })? {
        0 => Ok(Clone::Child),
        pid => Ok(Clone::Parent(Spawned { pid: Pid::from_raw(pid), pidfd: None })),
    }
}

/// What a child needs beside its command, in the form that system calls take.
struct Prepared<'a> {
    descriptors: libc::rlimit,
    argv: &'a [*const libc::c_char],
    envp: &'a [*const libc::c_char],
    oom_score_adj: Option<&'a str>,
}

/// Turns the new child into the program. Only async-signal-safe calls (signal-safety(7)): no
/// memory is taken, no lock, nothing is dropped; everything was prepared before.
#[allow(unsafe_code, reason = "the calls between fork and exec")]
fn become_program(command: &Command, cgroup: Option<Cgroup<'_>>, prepared: &Prepared<'_>) -> ! {
    let mut error = None;
    // SAFETY: every pointer is to memory that was prepared before the fork and is not freed, as
    // this process never returns; every call is async-signal-safe.
    unsafe {
        let procs = cgroup.iter().map(|cgroup| &cgroup.procs).chain(command.further_procs);
        for procs in procs {
            // "0" is the writer itself (cgroups(7)).
            note(&mut error, Stage::Execute, libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) == 1);
        }
        if let Some(value) = prepared.oom_score_adj {
            // Before it becomes another user, who may not write there. Where that fails it is a
            // worse victim or a better one, and runs all the same.
            let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if file >= 0 {
                libc::write(file, value.as_ptr().cast(), value.len());
                libc::close(file);
            }
        }
        if command.unified_view {
            note(&mut error, Stage::Execute, mount_unified_view());
        }
        // A session of its own: Ctrl-C at our terminal is for us to handle, not for runtimes.
        libc::setsid();
        // Handlers go with exec, but what is ignored (SIGPIPE by Rust, SIGHUP by nohup) and what
        // is blocked would be passed on to containers.
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = core::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, core::ptr::null_mut());
        libc::umask(0o022);
        libc::setrlimit(libc::RLIMIT_NOFILE, &prepared.descriptors);
        for (target, source) in (0..).zip(command.stdio) {
            if source.as_raw_fd() == target {
                // Same number: dup2 would leave close-on-exec set.
                note(&mut error, Stage::Execute, libc::fcntl(target, libc::F_SETFD, 0) == 0);
            } else {
                note(&mut error, Stage::Execute, libc::dup2(source.as_raw_fd(), target) == target);
            }
        }
        if command.terminal {
            // No terminal, or one that refuses: it works without job control.
            libc::ioctl(0, libc::TIOCSCTTY as _, 1);
        }
        // What we were given open without close-on-exec is not for containers either. Linux
        // 5.11; before that only what our own parent has leaked stays open.
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        if let Some(user) = &command.user {
            // setgroups is not on the list of signal-safety(7), but with one thread it is the bare
            // system call. All three before the directory, which may be open to the user alone.
            let alone = libc::setgroups(0, core::ptr::null()) == 0;
            let taken = alone && libc::setgid(user.gid) == 0 && libc::setuid(user.uid) == 0;
            note(&mut error, Stage::TakeUser, taken);
        }
        if let Some(directory) = &command.working_directory {
            note(&mut error, Stage::EnterDirectory, libc::chdir(directory.as_ptr()) == 0);
        }
        if error.is_none() {
            libc::execve(command.program.as_ptr(), prepared.argv.as_ptr(), prepared.envp.as_ptr());
            note(&mut error, Stage::Execute, false);
        }
        let message = error.unwrap_or(0).to_ne_bytes();
        libc::write(command.exec_error.as_raw_fd(), message.as_ptr().cast(), message.len());
        libc::_exit(127)
    }
}

/// Keeps stage and error number of the first call that failed.
fn note(error: &mut Option<i32>, stage: Stage, succeeded: bool) {
    if !succeeded && error.is_none() {
        *error = Some((stage as i32) << STAGE_SHIFT | Errno::last_raw());
    }
}

/// Puts the unified hierarchy, and nothing else, at `/sys/fs/cgroup` of a mount namespace of our
/// own. Later mounts of the host still come through (`MS_SLAVE`), none of this goes back.
///
/// # Safety
///
/// Only between fork and exec: it changes what the whole process sees.
#[allow(unsafe_code, reason = "the calls between fork and exec")]
unsafe fn mount_unified_view() -> bool {
    let none = core::ptr::null::<libc::c_char>();
    let target = c"/sys/fs/cgroup".as_ptr();
    // SAFETY: all strings are constants; null is allowed where mount(2) does not read it.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_SLAVE, none.cast()) == 0
            && libc::umount2(target, libc::MNT_DETACH) == 0
            && libc::mount(c"cgroup2".as_ptr(), target, c"cgroup2".as_ptr(), 0, none.cast()) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;
    use crate::supervisor::record::ExitStatus;

    fn run(args: &[&str], program: &str) -> (ExitStatus, Vec<u8>) {
        run_as(None, None, args, program)
    }

    /// Runs a command with its output in a pipe; returns status and output.
    fn run_as(
        user: Option<User>,
        working_directory: Option<CString>,
        args: &[&str],
        program: &str,
    ) -> (ExitStatus, Vec<u8>) {
        let null = std::fs::File::open("/dev/null").unwrap();
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let mut read = std::fs::File::from(read);
        let command = Command {
            program: CString::new(program).unwrap(),
            args: args.iter().map(|arg| CString::new(*arg).unwrap()).collect(),
            env: vec![c"GREETING=hello".into()],
            stdio: [null.as_fd(), write.as_fd(), write.as_fd()],
            exec_error: write.as_fd(),
            user,
            working_directory,
            cgroup: None,
            further_procs: &[],
            unified_view: false,
            terminal: false,
            oom_score_adj: Some(777),
        };
        let spawned = spawn(&command, &mut Spawner::prepare()).unwrap();
        drop(write);
        let mut output = Vec::new();
        read.read_to_end(&mut output).unwrap();
        // This process' other tests have children, too: wait for this one alone.
        let nix::sys::wait::WaitStatus::Exited(_, code) = nix::sys::wait::waitpid(spawned.pid, None).unwrap()
        else {
            panic!("it did not exit");
        };
        let status = ExitStatus::Code(u8::try_from(code).unwrap());
        (status, output)
    }

    #[test]
    fn the_program_gets_its_arguments_and_nothing_but_its_environment() {
        let script = "echo $0 $1; env; exit 3";
        let (status, output) = run(&["sh", "-c", script, "zero", "one"], "/bin/sh");
        let output = String::from_utf8(output).unwrap();
        assert_eq!(status, ExitStatus::Code(3));
        assert!(output.starts_with("zero one\n"), "{output}");
        assert!(output.contains("GREETING=hello"), "{output}");
        assert!(!output.contains("CARGO"), "{output}");
    }

    #[test]
    fn the_oom_killer_is_told_before_the_program_runs() {
        let (_, output) = run(&["cat", "/proc/self/oom_score_adj"], "/bin/cat");
        assert_eq!(String::from_utf8(output).unwrap(), "777\n");
    }

    #[test]
    fn no_descriptor_of_ours_is_inherited() {
        let (_, output) = run(&["sh", "-c", "ls /proc/self/fd"], "/bin/sh");
        // 3 is the directory that ls itself has open.
        assert_eq!(String::from_utf8(output).unwrap(), "0\n1\n2\n3\n");
    }

    #[test]
    fn signals_are_neither_ignored_nor_blocked_in_the_child() {
        let (_, output) = run(&["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"], "/bin/grep");
        let output = String::from_utf8(output).unwrap();
        assert_eq!(output.lines().count(), 2, "{output}");
        for line in output.lines() {
            let mask = u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap();
            // 32 and 33 are the C library's own; it lets nobody touch them.
            assert_eq!(mask & !(0b11 << 31), 0, "{line}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_shows_its_error() {
        let (status, output) = run(&["nothing"], "/nonexistent/program");
        assert_eq!(status, ExitStatus::Code(127));
        let error = ExecError { stage: Stage::Execute, errno: Errno::ENOENT };
        assert_eq!(exec_error(&output), Some(error));
    }

    #[test]
    fn a_working_directory_that_is_not_there_is_not_taken_for_the_program() {
        let directory = CString::from(c"/nonexistent");
        let (status, output) = run_as(None, Some(directory), &["sh", "-c", "pwd"], "/bin/sh");
        assert_eq!(status, ExitStatus::Code(127));
        let error = ExecError { stage: Stage::EnterDirectory, errno: Errno::ENOENT };
        assert_eq!(exec_error(&output), Some(error));
    }

    #[test]
    fn a_user_that_only_root_can_become_is_refused_to_others() {
        let somebody = User { uid: 4_000_001, gid: 4_000_002 };
        let script = "id -u; id -G; pwd";
        let directory = CString::from(c"/proc");
        let (status, output) = run_as(Some(somebody), Some(directory), &["sh", "-c", script], "/bin/sh");
        if nix::unistd::geteuid().is_root() {
            assert_eq!(String::from_utf8(output).unwrap(), "4000001\n4000002\n/proc\n");
        } else {
            assert_eq!(status, ExitStatus::Code(127));
            assert_eq!(exec_error(&output).unwrap().stage, Stage::TakeUser);
        }
    }

    #[test]
    fn what_a_program_says_is_no_error() {
        for said in [&b"four"[..], b"no", b"", b"\n\0\0\x04", b"longer than that"] {
            assert_eq!(exec_error(said), None, "{said:?}");
        }
    }
}
