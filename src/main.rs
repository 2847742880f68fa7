//! Arguments → plan → run → exit status; nothing else.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;

use outrigger::cli::{self, Command, Files, status};
use outrigger::linux::{file_systems, kernel_modules, log_writer, pid1, unmount};
#[cfg(feature = "simulate")]
use outrigger::simulate;
use outrigger::{boot, outline, run};

fn main() -> ExitCode {
    // Whatever its arguments: the kernel gives the first process those that it does not know.
    if pid1::is_first_process() {
        boot::boot();
    }
    let command = match cli::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("outrigger: error: {error}; see `outrigger --help`");
            return ExitCode::from(status::USAGE);
        }
    };
    ExitCode::from(match command {
        Command::Print(text) => print(text),
        Command::Check(files) => match run::load(&files) {
            Ok(plan) => print(&outline::outline(&plan)),
            Err(text) => {
                eprint!("{text}");
                status::CONFIGURATION
            }
        },
        #[cfg(feature = "simulate")]
        Command::Simulate(simulation) => simulate::simulate(simulation),
        #[cfg(not(feature = "simulate"))]
        Command::Simulate(_) => {
            eprintln!(
                "outrigger: error: cannot simulate: this program was built without it, to be small; use one that was \
                 built for your desk"
            );
            status::USAGE
        }
        Command::Run(files) => match with_environment(files) {
            Ok(files) => run::run(&files),
            Err(error) => {
                eprintln!("outrigger: error: {error}");
                status::USAGE
            }
        },
        Command::LogWriter => write_logs(),
        Command::Mount { source, path, kind, options } => {
            tell(file_systems::mount_here(&source, &path, &kind, &options))
        }
        Command::LoadModule(entry) => tell(kernel_modules::load_here(&entry)),
        Command::UnmountAll => tell(unmount::unmount_all_here()),
    })
}

/// `OUTRIGGER_RUNTIME`, where the command line names no runtime.
fn with_environment(mut files: Files) -> Result<Files, String> {
    let Some(named) = std::env::var_os("OUTRIGGER_RUNTIME").filter(|runtime| !runtime.is_empty()) else {
        return Ok(files);
    };
    if files.runtime.is_none() {
        let named = named.into_string();
        files.runtime = Some(named.map_err(|_| "cannot use `OUTRIGGER_RUNTIME`: it is not UTF-8; unset it")?);
    }
    Ok(files)
}

fn write_logs() -> u8 {
    let written = std::io::stdin().as_fd().try_clone_to_owned().and_then(|socket| {
        let settings = log_writer::Settings::of_this_process()?;
        log_writer::run(socket, settings)
    });
    match written {
        Ok(()) => status::FINE,
        Err(error) => {
            eprintln!("outrigger: error: the log writer cannot go on: {error}");
            status::SYSTEM
        }
    }
}

/// For a PID 1 that runs this as its child: it says the error in its own words, so there is
/// nothing before it.
fn tell(done: Result<(), String>) -> u8 {
    match done {
        Ok(()) => status::FINE,
        Err(error) => {
            eprintln!("{error}");
            status::SYSTEM
        }
    }
}

/// Prints a result. Nobody who listens (`outrigger check | head`) is not an error.
fn print(text: &str) -> u8 {
    let _ = std::io::stdout().write_all(text.as_bytes());
    status::FINE
}
