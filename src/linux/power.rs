//! The end of the machine: whatever still runs is ended, then it is restarted, switched off or
//! halted.

use core::time::Duration;
use std::fs;

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use super::{clock, reap};

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Without current. A machine that cannot switch itself off is halted.
    PowerOff,
    /// It starts again.
    Reboot,
    /// It stands still, with current.
    Halt,
}

/// How long after SIGKILL is waited for processes to be gone. Longer than an exit takes; one that
/// waits for a device in the kernel (state D) may take for ever.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// How often `tick` is called while waiting.
const TICK_PERIOD: Duration = Duration::from_millis(500);

/// `reboot(RB_DISABLE_CAD)` — Ctrl-Alt-Del sends SIGINT to PID 1 from now on, instead of resetting
/// the machine at once (reboot(2)). Fails with `EPERM` in a container.
pub fn disable_ctrl_alt_del() -> Result<(), String> {
    set_cad_enabled(false).map_err(|errno| {
        format!("cannot take over Ctrl-Alt-Del: {}; it resets the machine at once", errno.desc())
    })
}

/// Ends every process but ourselves: SIGTERM, and SIGKILL to what is there after `grace`.
/// Calls `tick` at least every second.
///
/// Takes at most `grace` and two seconds. Returns the processes that are still there, each as
/// `PID (name) in state S`. Only PID 1 may: kill(2) with -1 would take the whole session of
/// anybody else with it; for others it does nothing and says so.
pub fn kill_everything(grace: Duration, tick: &mut dyn FnMut()) -> Vec<String> {
    if getpid().as_raw() != 1 {
        return vec!["all: only PID 1 may end every process".to_owned()];
    }
    for (signal, patience) in [(Signal::SIGTERM, grace), (Signal::SIGKILL, KILL_PATIENCE)] {
        // To all but PID 1 itself and the kernel's own. ESRCH: there is nobody else.
        let nobody = kill(Pid::from_raw(-1), signal) == Err(Errno::ESRCH);
        // A stopped process takes no signal but SIGKILL until it goes on.
        let _ = kill(Pid::from_raw(-1), Signal::SIGCONT);
        if reap_all(patience, tick) || nobody {
            return Vec::new();
        }
    }
    remaining()
}

/// Reaps until there are no children, which for PID 1 means no processes. `false`: there are still
/// some after `patience`.
fn reap_all(patience: Duration, tick: &mut dyn FnMut()) -> bool {
    let deadline = clock::now().after(patience);
    let mut tick_at = clock::now();
    loop {
        while reap::next().is_some() {}
        if !reap::has_children() {
            return true;
        }
        let now = clock::now();
        if now >= tick_at {
            tick();
            tick_at = now.after(TICK_PERIOD);
        }
        if now >= deadline {
            return false;
        }
        reap::wait(TICK_PERIOD.min(deadline.since(now)));
    }
}

/// All processes but ourselves and the kernel's own.
fn remaining() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        if pid == 1 { None } else { describe_process(&stat) }
    });
    stats.collect()
}

/// A line of `/proc/PID/stat` (proc_pid_stat(5)) in words; `None` for a thread of the kernel.
fn describe_process(stat: &str) -> Option<String> {
    // kthreadd and its children.
    const KERNEL: &str = "2";
    // The name may have parentheses and spaces of its own.
    let (before, after) = stat.rsplit_once(") ")?;
    let (pid, name) = before.split_once(" (")?;
    let mut fields = after.split(' ');
    let (state, parent) = (fields.next()?, fields.next()?);
    (pid != KERNEL && parent != KERNEL).then(|| format!("{pid} ({name}) in state {state}"))
}

/// Ends the machine. `say` gets what goes wrong.
///
/// Does not return: a PID 1 that ends takes the kernel with it (panic), so if the kernel refuses
/// everything, it sleeps for ever, and a watchdog that still runs resets the machine. For
/// [`End::Halt`] the watchdog must have been stopped before, or it ends that too.
pub fn finish(end: End, say: &mut dyn FnMut(&str)) -> ! {
    // In the order in which they are tried.
    let modes: &[(RebootMode, &str)] = match end {
        End::PowerOff => &[
            (RebootMode::RB_POWER_OFF, "switch off the machine"),
            (RebootMode::RB_HALT_SYSTEM, "halt the machine"),
        ],
        End::Reboot => &[(RebootMode::RB_AUTOBOOT, "restart the machine")],
        End::Halt => &[(RebootMode::RB_HALT_SYSTEM, "halt the machine")],
    };
    for (mode, what) in modes {
        let Err(errno) = reboot(*mode);
        say(&format!("cannot {what}: {}", errno.desc()));
    }
    say("nothing is left to do; the power can be cut");
    loop {
        while reap::next().is_some() {}
        reap::wait(TICK_PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_pid_1_ends_every_process() {
        // It would be seen.
        assert_eq!(kill_everything(Duration::ZERO, &mut || {}), ["all: only PID 1 may end every process"]);
    }

    #[test]
    fn processes_are_named_and_threads_of_the_kernel_are_not() {
        for (stat, expected) in [
            ("417 (mount.nfs) D 1 417 417 0 -1 4194560", Some("417 (mount.nfs) in state D")),
            ("9 (a ) (b)) S 1 9 9", Some("9 (a ) (b)) in state S")),
            ("2 (kthreadd) S 0 0 0", None),
            ("33 (kworker/0:1-events) I 2 0 0", None),
            ("torn", None),
        ] {
            assert_eq!(describe_process(stat).as_deref(), expected, "{stat}");
        }
    }
}
