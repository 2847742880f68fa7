//! Stop signals by their names.
//!
//! The names are those of Kubernetes' `stopSignal`, all 65 of them. The numbers are those of signal(7)
//! for x86 and ARM. Of real-time signals it is the C library that says which are free: `SIGRTMIN` is
//! 34 here as with glibc and as for container engines, also for a container built with musl, whose
//! own is 35.

use super::nearest::nearest;
use super::problem::{ProblemList, quote};
use super::reader::Field;

/// A signal that asks a container to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StopSignal {
    /// As the user wrote it: some signals have two names.
    name: &'static str,
    number: u8,
}

impl StopSignal {
    /// What a container gets that asks for nothing else.
    pub const SIGTERM: StopSignal = StopSignal { name: "SIGTERM", number: 15 };

    /// The signal with this name, `SIGUSR1` or `SIGRTMIN+3`.
    pub fn by_name(name: &str) -> Option<StopSignal> {
        let known = SIGNALS.iter().find(|(known, _)| *known == name);
        known.map(|&(name, number)| StopSignal { name, number })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Its number, 1 to 64.
    pub fn number(self) -> u8 {
        self.number
    }
}

impl Default for StopSignal {
    fn default() -> StopSignal {
        StopSignal::SIGTERM
    }
}

/// The usual name of the signal with this number, if it has one.
pub fn signal_name(number: u8) -> Option<&'static str> {
    SIGNALS.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// Of two names for one number the usual one stands first.
const SIGNALS: [(&str, u8); 65] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGIOT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPOLL", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
    ("SIGRTMIN", 34),
    ("SIGRTMIN+1", 35),
    ("SIGRTMIN+2", 36),
    ("SIGRTMIN+3", 37),
    ("SIGRTMIN+4", 38),
    ("SIGRTMIN+5", 39),
    ("SIGRTMIN+6", 40),
    ("SIGRTMIN+7", 41),
    ("SIGRTMIN+8", 42),
    ("SIGRTMIN+9", 43),
    ("SIGRTMIN+10", 44),
    ("SIGRTMIN+11", 45),
    ("SIGRTMIN+12", 46),
    ("SIGRTMIN+13", 47),
    ("SIGRTMIN+14", 48),
    ("SIGRTMIN+15", 49),
    ("SIGRTMAX-14", 50),
    ("SIGRTMAX-13", 51),
    ("SIGRTMAX-12", 52),
    ("SIGRTMAX-11", 53),
    ("SIGRTMAX-10", 54),
    ("SIGRTMAX-9", 55),
    ("SIGRTMAX-8", 56),
    ("SIGRTMAX-7", 57),
    ("SIGRTMAX-6", 58),
    ("SIGRTMAX-5", 59),
    ("SIGRTMAX-4", 60),
    ("SIGRTMAX-3", 61),
    ("SIGRTMAX-2", 62),
    ("SIGRTMAX-1", 63),
    ("SIGRTMAX", 64),
];

/// Reads `stop-signal`.
pub(super) fn read_stop_signal(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<StopSignal> {
    const HELP: &str =
        "write the name of a signal as signal(7) has it: \"SIGTERM\", \"SIGUSR1\", \"SIGRTMIN+3\"";
    let name = field.string(problems, HELP)?;
    let signal = StopSignal::by_name(name);
    if signal.is_none() {
        let names: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
        // `TERM` is what kill(1) calls it.
        let whole = format!("SIG{}", name.to_uppercase());
        let meant = StopSignal::by_name(&whole)
            .or_else(|| StopSignal::by_name(&name.to_uppercase()))
            .map(StopSignal::name)
            .or_else(|| nearest(name, &names));
        let help = match meant {
            Some(similar) => format!("a signal with a similar name exists: \"{similar}\""),
            None => HELP.to_owned(),
        };
        field.refuse(problems, &format!("cannot be {}", quote(name)), "not the name of a signal", &help);
    }
    signal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_signal_and_only_once() {
        for (position, (name, number)) in SIGNALS.iter().enumerate() {
            let signal = StopSignal::by_name(name).unwrap();
            assert_eq!((signal.name(), signal.number()), (*name, *number));
            assert!(SIGNALS[..position].iter().all(|(earlier, _)| earlier != name), "{name}");
            assert!(SIGNALS[..position].iter().all(|(_, earlier)| earlier <= number), "{name}");
        }
        for name in ["", "TERM", "SIGRTMIN+16", "SIGRTMAX-15", "SIGRTMIN+03", "sigterm"] {
            assert_eq!(StopSignal::by_name(name), None, "{name}");
        }
    }

    #[test]
    fn of_two_names_the_usual_one_is_told() {
        for (number, name) in [
            (6, Some("SIGABRT")),
            (17, Some("SIGCHLD")),
            (29, Some("SIGIO")),
            (37, Some("SIGRTMIN+3")),
            (0, None),
            (32, None),
            (65, None),
        ] {
            assert_eq!(signal_name(number), name);
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_system() {
        for (name, number) in [
            ("SIGSTKFLT", libc::SIGSTKFLT),
            ("SIGCHLD", libc::SIGCHLD),
            ("SIGWINCH", libc::SIGWINCH),
            ("SIGPOLL", libc::SIGPOLL),
            ("SIGPWR", libc::SIGPWR),
            ("SIGSYS", libc::SIGSYS),
            ("SIGRTMAX", 64),
        ] {
            assert_eq!(i32::from(StopSignal::by_name(name).unwrap().number()), number, "{name}");
        }
    }
}
