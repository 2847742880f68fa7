//! Configuration: text to checked plan. Pure: files are read by `linux/`, their bytes come in here.
//!
//! A file goes through `document.rs` (bytes to a tree of values), then through the reader of its
//! kind (`machine.rs`, `pod.rs` with `container.rs`, `probe.rs`, `resources.rs`), and all of them
//! together through `check.rs`. Everybody adds what is wrong to one list and goes on, so that one
//! run tells all mistakes; a plan is only made when the list is empty.

pub mod admission;
mod boot;
mod capability;
mod check;
mod container;
pub mod difference;
mod document;
pub mod effective;
mod escalation;
mod expand;
mod hook;
pub mod kernel_command_line;
mod machine;
mod nearest;
pub mod plan;
mod pod;
mod port;
mod probe;
mod probe_check;
mod problem;
pub mod qos;
mod quantity;
mod reader;
mod resources;
mod restart_policy;
pub mod signal;
mod termination_message;
mod value;

use self::machine::MachineFile;
use self::plan::{Capacity, Machine, Plan};
use self::problem::ProblemList;
use self::reader::Table;

pub(crate) use self::nearest::nearest;
pub use self::problem::Problems;
pub(crate) use self::quantity::{parse_duration, write_cpu, write_duration, write_memory};
pub use self::reader::TableKind;

/// One configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as the user wrote it; shown in messages.
    pub name: String,
    /// What is in it, at most `FILE_BYTES_MAX`; a longer file is refused.
    pub bytes: Vec<u8>,
}

/// Every table that a configuration file can have, with its keys. `docs/config.md` describes
/// each of them, and a test compares the two.
pub const TABLES: [TableKind; 31] = [
    machine::MACHINE,
    machine::RESTART_BACKOFF,
    boot::BOOT,
    boot::FILE_SYSTEM,
    boot::WATCHDOG,
    boot::SHUTDOWN,
    boot::RESCUE,
    pod::POD,
    pod::VOLUME,
    container::CONTAINER,
    container::MOUNT,
    container::DEVICE,
    capability::CAPABILITIES,
    resources::RESOURCES,
    resources::REQUESTS,
    resources::LIMITS,
    probe::PROBE,
    probe_check::EXEC,
    probe_check::HTTP_GET,
    probe_check::TCP_SOCKET,
    probe_check::HEADER,
    probe_check::GRPC,
    probe_check::UNIX,
    port::PORT,
    admission::CAPACITY,
    admission::RESERVED,
    resources::OVERHEAD,
    restart_policy::RESTART_RULE,
    restart_policy::EXIT_CODES,
    escalation::ESCALATION,
    hook::HOOK,
];

/// Reads the machine file alone: what is needed before the pod files can be looked for.
///
/// Also what is wrong with it. The machine then has what could be read, and defaults for the rest.
pub fn load_machine(source: Option<&Source>) -> (Machine, Option<Problems>) {
    let mut problems = ProblemList::new(source.into_iter().collect());
    let file = read_machine_file(source, &mut problems);
    (file.machine, problems.into_problems())
}

fn read_machine_file(source: Option<&Source>, problems: &mut ProblemList<'_>) -> MachineFile {
    let Some(source) = source else { return MachineFile::default() };
    problems.begin_file(0);
    match document::parse(source, problems) {
        Some(table) => {
            let table = Table::new(machine::MACHINE, table.span(), table.get_ref());
            machine::read_machine(table, problems)
        }
        None => MachineFile { restart_backoff: None, is_complete: false, ..MachineFile::default() },
    }
}

/// Reads the machine file, if there is one, and the pod files, one pod each.
///
/// Without a machine file its defaults hold. The pods of the plan are sorted so that each stands
/// behind those that it is `after`; where that leaves a choice, in the order given.
///
/// # Errors
///
/// All mistakes of all files together, as a report for the user.
pub fn load(machine: Option<&Source>, pods: &[Source]) -> Result<Plan, Problems> {
    load_for(Capacity::default(), machine, pods)
}

/// As [`load`], for a machine that was found to have `found`. Where the machine file says nothing
/// else, that is what the pods may request together.
///
/// # Errors
///
/// As [`load`].
pub fn load_for(found: Capacity, machine: Option<&Source>, pods: &[Source]) -> Result<Plan, Problems> {
    let mut problems = ProblemList::new(machine.into_iter().chain(pods).collect());
    let machine_file = read_machine_file(machine, &mut problems);

    let first = usize::from(machine.is_some());
    let mut files = Vec::with_capacity(pods.len());
    let mut all_readable = true;
    for (file, source) in pods.iter().enumerate() {
        problems.begin_file(first + file);
        let table = document::parse(source, &mut problems);
        all_readable &= table.is_some() && !problems.is_damaged();
        if let Some(table) = table {
            let table = Table::new(pod::POD, table.span(), table.get_ref());
            files.push(pod::read_pod(first + file, table, &machine_file, &mut problems));
        }
    }
    if pods.is_empty() {
        let help = "give at least one pod file, or a folder that has one";
        problems.add_to_file("there is no pod to run".to_owned(), help);
    }
    let fits = check::check_pods(&files, all_readable, &mut problems);
    let written = machine_file.machine.capacity;
    let capacity = written.or_found(found);
    if fits && machine_file.is_complete {
        let reserved = machine_file.machine.reserved;
        admission::check_admission(&files, capacity, written, reserved, &mut problems);
    }
    match problems.into_problems() {
        Some(problems) => Err(problems),
        None => Ok(check::build_plan(machine_file.machine, capacity, files)),
    }
}
