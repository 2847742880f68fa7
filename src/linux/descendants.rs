//! A command and what it has started, to be ended together.

use std::collections::{BTreeMap, BTreeSet};
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

/// Processes that are looked at for one command, in all rounds together: as many as a machine has
/// numbers for as a rule (`pid_max`, proc(5)), where a container has tens. Each takes some
/// microseconds, in which nothing else goes on. What is beyond ends with its container.
const LOOKED_AT_MAX: usize = 32_768;

/// Sends SIGKILL to `roots`, to what has come of them, and to the rest of the sessions of all
/// these, as far as they are among `candidates`, the processes of a container. What has left both
/// (a daemon: orphaned, in a session of its own) is not to be told from the container's own.
///
/// The roots must be in no session that is older than they are. Processes of ours are not: each
/// begins one (`spawn.rs`), and runtimes begin another one for the command.
pub fn kill_with_descendants(roots: &[Pid], candidates: impl Fn() -> Vec<Pid>) {
    let mut family = Family::default();
    let mut budget = LOOKED_AT_MAX;
    for _ in 0..ROUNDS_MAX {
        let all = family.choose(roots, candidates(), &mut budget);
        let found = family.extend(roots, all.into_iter().filter_map(relations).collect());
        if found.is_empty() {
            return;
        }
        for pid in found {
            // ESRCH: it was faster.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// What belongs together.
#[derive(Debug, Default)]
struct Family {
    pids: BTreeSet<Pid>,
    sessions: BTreeSet<Pid>,
}

impl Family {
    /// Which of `candidates` are to be looked at: each once, none that is known, the roots before
    /// all others, and no more than `budget`, of which they are taken.
    fn choose(&self, roots: &[Pid], candidates: Vec<Pid>, budget: &mut usize) -> Vec<Pid> {
        let unknown: BTreeSet<Pid> = candidates.into_iter().filter(|pid| !self.pids.contains(pid)).collect();
        let (first, rest): (Vec<Pid>, Vec<Pid>) = unknown.into_iter().partition(|pid| roots.contains(pid));
        let chosen: Vec<Pid> = first.into_iter().chain(rest).take(*budget).collect();
        *budget = budget.saturating_sub(chosen.len());
        chosen
    }

    /// Adds those of `all` that belong to it, and says which. One look at each: there may be
    /// thousands, as many as a container has made.
    fn extend(&mut self, roots: &[Pid], all: Vec<Relations>) -> Vec<Pid> {
        let mut open = Vec::new();
        let mut of_parent: BTreeMap<Pid, Vec<Relations>> = BTreeMap::new();
        let mut of_session: BTreeMap<Pid, Vec<Relations>> = BTreeMap::new();
        for one in all {
            let related = self.pids.contains(&one.parent) || self.sessions.contains(&one.session);
            if related || roots.contains(&one.pid) {
                open.push(one);
            } else {
                of_parent.entry(one.parent).or_default().push(one);
                of_session.entry(one.session).or_default().push(one);
            }
        }
        let mut found = Vec::new();
        while let Some(one) = open.pop() {
            if !self.pids.insert(one.pid) {
                continue;
            }
            self.sessions.insert(one.session);
            found.push(one.pid);
            open.extend(of_parent.remove(&one.pid).unwrap_or_default());
            open.extend(of_session.remove(&one.session).unwrap_or_default());
        }
        found
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
            let mut family = Family::default();
            let mut before: Vec<Pid> = known.iter().map(|one| one.pid).collect();
            let found = family.extend(&before, known.to_vec());
            assert_eq!(found, before);
            before.extend(family.extend(&roots, all.to_vec()));
            assert!(before.iter().all(|pid| family.pids.contains(pid)));
            let mut pids: Vec<i32> = before.into_iter().map(Pid::as_raw).collect();
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
    fn thousands_are_looked_at_once_each() {
        const COUNT: i32 = 30_000;
        // Each the child of the one behind it, all in sessions of their own; and as many strangers.
        let chain = (0..COUNT).map(|number| one(100 + number, 101 + number, 100 + number));
        let strangers = (0..COUNT).map(|number| one(100_000 + number, 1, 99));
        let mut family = Family::default();
        let found = family.extend(&[Pid::from_raw(99 + COUNT)], chain.chain(strangers).collect());
        assert_eq!(found.len(), 30_000);
        // A session of thousands, found by one of them.
        let session = (0..COUNT).map(|number| one(100 + number, 1, 7));
        let found = Family::default().extend(&[Pid::from_raw(200)], session.collect());
        assert_eq!(found.len(), 30_000);
    }

    #[test]
    fn what_is_looked_at_is_bounded_and_the_roots_are_the_first() {
        let pids = |pids: &[i32]| -> Vec<Pid> { pids.iter().copied().map(Pid::from_raw).collect() };
        let mut family = Family::default();
        family.extend(&pids(&[4]), vec![one(4, 1, 4)]);
        let mut budget = 5;
        let roots = pids(&[4, 9]);
        // Twice there: in two hierarchies.
        assert_eq!(family.choose(&roots, pids(&[2, 3, 4, 9, 3]), &mut budget), pids(&[9, 2, 3]));
        assert_eq!(family.choose(&roots, pids(&[2, 3, 4, 9]), &mut budget), pids(&[9, 2]));
        assert_eq!(family.choose(&roots, pids(&[2, 3, 4, 9]), &mut budget), []);
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
