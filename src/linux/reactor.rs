//! What can wake the loop: an epoll set whose tokens say who it was.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::config::plan::ContainerId;
use crate::supervisor::hook::HookKind;
use crate::supervisor::probe::ProbeKind;

/// What one wait returns at most. More are had in the next turn: nothing is lost, and a flood of
/// one kind cannot hold up the decisions for long.
pub const BATCH: usize = 64;

/// Who woke the loop. A token can come late, for a descriptor that was closed in the same turn
/// and even replaced: whoever handles it must find nothing to do, not the wrong thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// signal-hook's pipe.
    Signals,
    /// The timer.
    Timer,
    /// inotify: some cgroup has become empty, or not.
    Cgroups,
    /// The log writer's socket.
    LogWriter,
    /// The first process of a container has ended.
    FirstProcess(ContainerId),
    /// A host process has become its program, or cannot.
    Execution(ContainerId),
    /// The socket of a network probe.
    Probe(ContainerId, ProbeKind),
    /// The output of a call.
    CallOutput(ContainerId, CallSlot),
    /// A container has said something of itself.
    Notices(ContainerId),
    /// The socket of a hook that makes a request.
    Hook(ContainerId),
}

/// One of the calls that a container can have at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallSlot {
    /// `create`, `start` or `delete`.
    Lifecycle,
    /// The command of an exec probe.
    Exec(ProbeKind),
    /// The command of a hook.
    Hook(HookKind),
}

impl CallSlot {
    /// The name of the files that belong to it.
    pub fn name(self) -> &'static str {
        match self {
            CallSlot::Lifecycle => "runtime",
            CallSlot::Exec(kind) => kind.name(),
            CallSlot::Hook(kind) => kind.name(),
        }
    }
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, container, detail) = match self {
            Token::Signals => (0, 0, 0),
            Token::Timer => (1, 0, 0),
            Token::Cgroups => (2, 0, 0),
            Token::LogWriter => (3, 0, 0),
            Token::FirstProcess(id) => (4, id.0, 0),
            Token::Probe(id, kind) => (5, id.0, probe_number(kind)),
            Token::CallOutput(id, CallSlot::Lifecycle) => (6, id.0, 0),
            Token::CallOutput(id, CallSlot::Exec(kind)) => (7, id.0, probe_number(kind)),
            Token::Execution(id) => (8, id.0, 0),
            Token::Notices(id) => (11, id.0, 0),
            Token::CallOutput(id, CallSlot::Hook(kind)) => (9, id.0, hook_number(kind)),
            Token::Hook(id) => (10, id.0, 0),
        };
        kind << 32 | u64::from(container) << 8 | detail
    }

    fn decode(data: u64) -> Option<Token> {
        let [detail, low, high, _, kind, ..] = data.to_le_bytes();
        let id = ContainerId(u16::from_le_bytes([low, high]));
        Some(match kind {
            0 => Token::Signals,
            1 => Token::Timer,
            2 => Token::Cgroups,
            3 => Token::LogWriter,
            4 => Token::FirstProcess(id),
            5 => Token::Probe(id, probe_kind(detail)?),
            6 => Token::CallOutput(id, CallSlot::Lifecycle),
            7 => Token::CallOutput(id, CallSlot::Exec(probe_kind(detail)?)),
            8 => Token::Execution(id),
            11 => Token::Notices(id),
            9 => Token::CallOutput(id, CallSlot::Hook(hook_kind(detail)?)),
            10 => Token::Hook(id),
            _ => return None,
        })
    }
}

fn probe_number(kind: ProbeKind) -> u64 {
    match kind {
        ProbeKind::Startup => 0,
        ProbeKind::Liveness => 1,
        ProbeKind::Readiness => 2,
    }
}

fn hook_number(kind: HookKind) -> u64 {
    match kind {
        HookKind::PostStart => 0,
        HookKind::PreStop => 1,
    }
}

fn hook_kind(number: u8) -> Option<HookKind> {
    [HookKind::PostStart, HookKind::PreStop].get(usize::from(number)).copied()
}

fn probe_kind(number: u8) -> Option<ProbeKind> {
    ProbeKind::ALL.get(usize::from(number)).copied()
}

/// What a descriptor is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or its end.
    Readable,
    /// Room to write, or a connection that was made or refused.
    Writable,
}

/// epoll(7). Level-triggered: what is not read wakes again.
#[derive(Debug)]
pub struct Reactor {
    epoll: Epoll,
}

impl Reactor {
    /// An empty set. Fails with `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn new() -> nix::Result<Reactor> {
        Ok(Reactor { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? })
    }

    /// Watches `fd`. Closing it ends that by itself, as long as no duplicate stays open.
    pub fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> nix::Result<()> {
        self.epoll.add(fd, EpollEvent::new(flags(interest), token.encode()))
    }

    /// Watches `fd` for something else.
    pub fn modify(&self, fd: impl AsFd, token: Token, interest: Interest) -> nix::Result<()> {
        self.epoll.modify(fd, &mut EpollEvent::new(flags(interest), token.encode()))
    }

    /// Waits until something happens and calls `each` for it. A signal that interrupts the wait
    /// is in signal-hook's pipe, and ends the next one at once; that nothing has happened, and
    /// thus that a deadline counts, is never concluded from an interruption.
    pub fn wait(&self, mut each: impl FnMut(Token)) {
        let mut events = [EpollEvent::empty(); BATCH];
        let count = loop {
            match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                result => break result.unwrap_or(0),
            }
        };
        events.iter().take(count).filter_map(|event| Token::decode(event.data())).for_each(&mut each);
    }
}

fn flags(interest: Interest) -> EpollFlags {
    match interest {
        Interest::Readable => EpollFlags::EPOLLIN,
        Interest::Writable => EpollFlags::EPOLLOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_survives_the_kernel() {
        let id = ContainerId(0x1234);
        let mut tokens = vec![Token::Signals, Token::Timer, Token::Cgroups, Token::LogWriter];
        tokens.extend([Token::FirstProcess(id), Token::CallOutput(id, CallSlot::Lifecycle)]);
        tokens.push(Token::Notices(id));
        tokens.push(Token::Execution(id));
        tokens.push(Token::Hook(id));
        for kind in [HookKind::PostStart, HookKind::PreStop] {
            tokens.push(Token::CallOutput(id, CallSlot::Hook(kind)));
        }
        for kind in ProbeKind::ALL {
            tokens.extend([Token::Probe(id, kind), Token::CallOutput(id, CallSlot::Exec(kind))]);
        }
        for token in tokens {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }
}
