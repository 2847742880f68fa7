//! A shell on the console, for somebody who stands beside the machine.

use super::{console, job};
use crate::supervisor::record::ExitStatus;

/// Runs `command` on the console, which becomes its controlling terminal, until it ends, however
/// long that takes. Calls `tick` at least every second, and gives the console its settings back.
///
/// Returns how the shell has ended. In the error: why it could not be started.
pub fn run_shell(command: &[String], tick: &mut dyn FnMut()) -> Result<ExitStatus, String> {
    let name = command.first().map_or("", String::as_str);
    let ended = job::run_on_terminal(command, tick);
    console::reset_terminal();
    ended.map_err(|error| format!("cannot run the rescue shell `{name}`: {error}"))
}
