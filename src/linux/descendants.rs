//! A command and what it has started, to be ended together.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often what was forked in the meantime is looked for.
const ROUNDS_MAX: usize = 16;

/// What the kernel tells of a process' relations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Relations {
    pid: Pid,
    parent: Pid,
    session: Pid,
}

/// Sends SIGKILL to `roots`, to what has come of them, and to the rest of the sessions of all
/// these, as far as they are among `candidates`, the processes of a container. What has left both
/// (a daemon: orphaned, in a session of its own) is not to be told from the container's own.
///
/// The roots must be in no session that is older than they are. Processes of ours are not: each
/// begins one (`spawn.rs`), and runtimes begin another one for the command.
pub fn kill_with_descendants(roots: &[Pid], candidates: impl Fn() -> Vec<Pid>) {
    let mut family = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let all: Vec<Relations> = candidates().into_iter().filter_map(relations).collect();
        let before = family.len();
        extend(&mut family, roots, &all);
        let Some(found) = family.get(before..).filter(|found| !found.is_empty()) else { return };
        for one in found {
            // ESRCH: it was faster.
            let _ = kill(one.pid, Signal::SIGKILL);
        }
    }
}

/// Adds those of `all` to `family` that belong to it.
fn extend(family: &mut Vec<Relations>, roots: &[Pid], all: &[Relations]) {
    let belongs = |one: &Relations, family: &[Relations]| {
        let related = |other: &Relations| one.parent == other.pid || one.session == other.session;
        !family.iter().any(|other| other.pid == one.pid)
            && (roots.contains(&one.pid) || family.iter().any(related))
    };
    while let Some(one) = all.iter().find(|one| belongs(one, family)) {
        family.push(*one);
    }
}

/// From `/proc/<pid>/stat` (proc(5)), which, unlike environment and command line, needs nothing
/// of the process' own memory and thus cannot be held up by it.
fn relations(pid: Pid) -> Option<Relations> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(pid: Pid, stat: &str) -> Option<Relations> {
    // The name in parentheses can have anything in it.
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace().skip(1);
    let mut number = || fields.next()?.parse().ok().map(Pid::from_raw);
    let parent = number()?;
    let _group = number()?;
    Some(Relations { pid, parent, session: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pid: i32, parent: i32, session: i32) -> Relations {
        Relations { pid: Pid::from_raw(pid), parent: Pid::from_raw(parent), session: Pid::from_raw(session) }
    }

    #[test]
    fn a_family_is_descendants_and_session() {
        let all = [
            // The container's own.
            one(10, 1, 10),
            one(11, 10, 10),
            // A child of a child, found before its parent; both in sessions of their own.
            one(23, 22, 23),
            one(22, 21, 22),
            one(21, 20, 20),
            one(20, 5, 20),
            // An orphan in the session.
            one(24, 10, 20),
            // A daemon: neither.
            one(25, 10, 25),
        ];
        let pids = |roots: &[i32], known: &[Relations]| {
            let roots: Vec<Pid> = roots.iter().copied().map(Pid::from_raw).collect();
            let mut family = known.to_vec();
            extend(&mut family, &roots, &all);
            let mut pids: Vec<i32> = family.iter().map(|one| one.pid.as_raw()).collect();
            pids.sort_unstable();
            pids
        };
        assert_eq!(pids(&[20], &[]), [20, 21, 22, 23, 24]);
        assert_eq!(pids(&[22], &[]), [22, 23]);
        assert_eq!(pids(&[7, 25], &[]), [25]);
        // Killed before, and the roots gone with it.
        assert_eq!(pids(&[20], &[one(22, 21, 22)]), [20, 21, 22, 23, 24]);
        assert_eq!(pids(&[], &[one(99, 1, 20)]), [20, 21, 22, 23, 24, 99]);
    }

    #[test]
    fn a_name_can_have_anything_in_it() {
        let pid = Pid::from_raw(7);
        assert_eq!(parse(pid, "7 (a) b) S 3 (x) R 5 6 9 0 -1"), Some(one(7, 5, 9)));
        assert_eq!(parse(pid, "7 (a) S 5"), None);
        let own = relations(Pid::this()).unwrap();
        assert_eq!((own.pid, own.parent), (Pid::this(), Pid::parent()));
    }
}
