//! The command line: what can be asked for, its help, and what the exit status says.

use core::time::Duration;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::simulator::assumption::{self, Assumption, FORMS};

/// Exit statuses. Documented in `--help` and docs/cli.md.
pub mod status {
    /// All pods succeeded, or were stopped in order by a signal.
    pub const FINE: u8 = 0;
    /// A configuration file is wrong or cannot be read. Nothing was started.
    pub const CONFIGURATION: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// The system refused something without which nothing can be run. Nothing was started.
    pub const SYSTEM: u8 = 3;
    /// At least one pod failed by itself.
    pub const POD_FAILED: u8 = 4;
    /// Something could not be killed or removed; a message says what.
    pub const LEFT_BEHIND: u8 = 5;
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run pods in the foreground.
    Run(Files),
    /// Check configuration files and print the plan.
    Check(Files),
    /// Simulate pods and print what happens.
    Simulate(Simulation),
    /// Be the log writer. Not for users.
    LogWriter,
    /// Mount one file system: what a PID 1 does in a child, as it may block. Not for users.
    Mount {
        /// The device.
        source: String,
        /// Where to.
        path: String,
        /// The file system's type.
        kind: String,
        /// Options with commas between.
        options: String,
    },
    /// Load a kernel module, with what it needs. Likewise.
    LoadModule(String),
    /// Unmount everything. Likewise.
    UnmountAll,
    /// Print this text.
    Print(&'static str),
}

/// Which configuration files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The machine file, if one was named.
    pub config: Option<PathBuf>,
    /// The runtime, if one was named here; it goes before the machine file's.
    pub runtime: Option<String>,
    /// Pod files and directories of such; none: those of the machine file.
    pub paths: Vec<PathBuf>,
}

/// What is to be simulated, and how it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// Which pods.
    pub files: Files,
    /// What is assumed of their containers.
    pub assumptions: Vec<Assumption>,
    /// How long to look; `None`: until nothing else happens.
    pub until: Option<Duration>,
    /// How to show it.
    pub format: Format,
    /// Where to write it; `None`: standard output.
    pub output: Option<PathBuf>,
}

/// How a simulation is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines and a table.
    #[default]
    Text,
    /// One document.
    Json,
    /// A picture.
    Svg,
}

impl Format {
    const ALL: [Format; 3] = [Format::Text, Format::Json, Format::Svg];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Svg => "svg",
        }
    }
}

/// Reads the arguments, without the program's own name. In the error: what is wrong with them.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let wrong = |error: lexopt::Error| error.to_string();
    let command = match parser.next().map_err(wrong)? {
        Some(lexopt::Arg::Short('h') | lexopt::Arg::Long("help")) | None => return Ok(Command::Print(HELP)),
        Some(lexopt::Arg::Short('V') | lexopt::Arg::Long("version")) => return Ok(Command::Print(VERSION)),
        Some(lexopt::Arg::Value(name)) => name,
        Some(other) => return Err(wrong(other.unexpected())),
    };
    match command.to_str() {
        Some("run") => parse_files(parser, RUN_HELP, Command::Run),
        Some("check") => parse_files(parser, CHECK_HELP, Command::Check),
        Some("simulate") => parse_simulation(parser),
        Some("log-writer") => match parser.next().map_err(wrong)? {
            None => Ok(Command::LogWriter),
            Some(other) => Err(wrong(other.unexpected())),
        },
        Some("mount") => {
            let [source, path, kind, options] = parse_words(parser)?;
            Ok(Command::Mount { source, path, kind, options })
        }
        Some("load-module") => parse_words(parser).map(|[entry]| Command::LoadModule(entry)),
        Some("unmount-all") => parse_words(parser).map(|[]| Command::UnmountAll),
        Some("help") => help_of(parser.value().ok().as_ref().and_then(|name| name.to_str())),
        _ => Err(unknown_command(&command.to_string_lossy())),
    }
}

/// Exactly as many words as are wanted, for what outrigger runs itself as.
fn parse_words<const COUNT: usize>(mut parser: lexopt::Parser) -> Result<[String; COUNT], String> {
    let wrong = |error: lexopt::Error| error.to_string();
    // Whatever they begin with: they are no options of ours.
    let words = parser.raw_args().map_err(wrong)?.map(OsString::into_string);
    let words: Result<Vec<String>, OsString> = words.collect();
    let words = words.map_err(|_| "an argument is not UTF-8".to_owned())?;
    words.try_into().map_err(|words: Vec<String>| format!("{} arguments instead of {COUNT}", words.len()))
}

fn help_of(command: Option<&str>) -> Result<Command, String> {
    match command {
        None => Ok(Command::Print(HELP)),
        Some("run") => Ok(Command::Print(RUN_HELP)),
        Some("check") => Ok(Command::Print(CHECK_HELP)),
        Some("simulate") => Ok(Command::Print(SIMULATE_HELP)),
        Some(other) => Err(unknown_command(other)),
    }
}

fn unknown_command(name: &str) -> String {
    format!("unknown command `{name}`; there are `run`, `check` and `simulate`")
}

fn parse_simulation(mut parser: lexopt::Parser) -> Result<Command, String> {
    let wrong = |error: lexopt::Error| error.to_string();
    let mut simulation = Simulation::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        let option = match arg {
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return Ok(Command::Print(SIMULATE_HELP)),
            lexopt::Arg::Short('c') | lexopt::Arg::Long("config") => {
                simulation.files.config = Some(PathBuf::from(parser.value().map_err(wrong)?));
                continue;
            }
            lexopt::Arg::Short('o') | lexopt::Arg::Long("output") => {
                simulation.output = Some(PathBuf::from(parser.value().map_err(wrong)?));
                continue;
            }
            lexopt::Arg::Value(path) => {
                simulation.files.paths.push(PathBuf::from(path));
                continue;
            }
            lexopt::Arg::Long("until") => "until",
            lexopt::Arg::Long("format") => "format",
            lexopt::Arg::Long(name) => match FORMS.iter().find(|form| form.option == name) {
                Some(form) => form.option,
                None => return Err(wrong(arg.unexpected())),
            },
            lexopt::Arg::Short(_) => return Err(wrong(arg.unexpected())),
        };
        let value = parser.value().map_err(wrong)?.into_string();
        let value = value.map_err(|_| format!("the value of `--{option}` is not UTF-8"))?;
        if let Some(form) = FORMS.into_iter().find(|form| form.option == option) {
            simulation.assumptions.push(assumption::parse(form, &value)?);
        } else if option == "until" {
            let until = assumption::time(&value).map_err(|error| format!("`--until {value}`: {error}"))?;
            simulation.until = Some(until);
        } else {
            let format = Format::ALL.into_iter().find(|format| format.name() == value);
            simulation.format =
                format.ok_or_else(|| format!("`--format {value}`: there are text, json and svg"))?;
        }
    }
    Ok(Command::Simulate(simulation))
}

fn parse_files(
    mut parser: lexopt::Parser,
    help: &'static str,
    command: fn(Files) -> Command,
) -> Result<Command, String> {
    let wrong = |error: lexopt::Error| error.to_string();
    let mut files = Files::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return Ok(Command::Print(help)),
            lexopt::Arg::Short('c') | lexopt::Arg::Long("config") => {
                files.config = Some(PathBuf::from(parser.value().map_err(wrong)?));
            }
            lexopt::Arg::Long("runtime") => {
                let runtime = parser.value().map_err(wrong)?.into_string();
                files.runtime =
                    Some(runtime.map_err(|_| "the value of `--runtime` is not UTF-8".to_owned())?);
            }
            lexopt::Arg::Value(path) => files.paths.push(PathBuf::from(path)),
            other @ (lexopt::Arg::Short(_) | lexopt::Arg::Long(_)) => {
                return Err(wrong(other.unexpected()));
            }
        }
    }
    Ok(command(files))
}

/// `outrigger --version`
pub const VERSION: &str = concat!("outrigger ", env!("CARGO_PKG_VERSION"), "\n");

/// `outrigger --help`
pub const HELP: &str = "\
Runs pods of OCI containers on one device, with the pod lifecycle of Kubernetes.

Usage: outrigger COMMAND [OPTION…] [PATH…]

Commands:
  run [PATH…]    run pods in the foreground until all have ended
  check [PATH…]  say what is wrong with configuration files, or print the plan
  simulate [PATH…]
                 show what pods would do if their containers did what you assume

  -h, --help     print help, also after a command
  -V, --version  print the version

PATH is a pod file (TOML), or a directory of such files; without any, those that the machine
file names, /etc/outrigger/pods unless it says otherwise.

As the first process of a machine (PID 1) it boots that machine, whatever its arguments.

Exit status:
  0  all is well: pods succeeded or were stopped in order, files are right
  1  a configuration file is wrong or cannot be read, or the pods request more than the
     machine has; nothing was started
  2  the command line is wrong
  3  the system refused something that is needed; nothing was started
  4  at least one pod failed
  5  something could not be killed or removed; the last lines say what
";

/// `outrigger run --help`
pub const RUN_HELP: &str = "\
Runs pods in the foreground until all have ended.

Usage: outrigger run [OPTION…] [PATH…]

  PATH…               pod files (TOML), or directories of such files; without any, those
                      of the machine file
  -c, --config FILE   the machine file; /etc/outrigger/outrigger.toml if that is there
      --runtime NAME  crun, runc, or the absolute path of one of them; goes before the
                      environment's OUTRIGGER_RUNTIME, and that before the machine file
  -h, --help          print this text

The containers' output goes to standard output and standard error, each line after
the time (UTC) and the container's name; lines of outrigger itself go to standard error.
Colours are used on a terminal, unless NO_COLOR is set and not empty or TERM is `dumb`.

SIGTERM, SIGINT (Ctrl-C), SIGQUIT or SIGHUP stops all pods in order, each within its grace
period. A second one shortens what is left of it to 2 seconds. To a service (NOTIFY_SOCKET is set)
SIGHUP is a reload: the files are read again, and it is said what the next start would change.

Exit status:
  0  all pods succeeded, or were stopped in order by a signal
  1  a configuration file is wrong or cannot be read, or the pods request more than the
     machine has; nothing was started
  2  the command line is wrong
  3  the system refused something that is needed; nothing was started
  4  at least one pod failed by itself
  5  something could not be killed or removed; the last lines say what
";

/// `outrigger check --help`
pub const CHECK_HELP: &str = "\
Says what is wrong with configuration files, all mistakes at once; or, if nothing is, prints
the plan: start order, who waits for whom, stop order, effective resources.

Usage: outrigger check [OPTION…] [PATH…]

  PATH…               pod files (TOML), or directories of such files; without any, those
                      of the machine file
  -c, --config FILE   the machine file; /etc/outrigger/outrigger.toml if that is there
      --runtime NAME  as for `run`; not looked for
  -h, --help          print this text

Nothing is started. Nothing outside of these files is looked at but how much memory and how many
processors this machine has; `capacity` in the machine file says it for another one.

Exit status:
  0  the files are right
  1  at least one is wrong or cannot be read, or the pods request more than the machine has
  2  the command line is wrong
";

/// `outrigger simulate --help`
pub const SIMULATE_HELP: &str = "\
Shows what pods would do if their containers did what you assume: the decisions are those of
`run`, the clock is not. Nothing is started, and of this machine only its memory and processors
are looked at, unless the machine file has a `capacity`.

Usage: outrigger simulate [OPTION…] [PATH…]

  PATH…               pod files (TOML), or directories of such files; without any, those
                      of the machine file
  -c, --config FILE   the machine file; /etc/outrigger/outrigger.toml if that is there
      --until TIME    look until then; without it until nothing else happens, or for
                      10 minutes from the last time that is assumed
      --format FORMAT text, json or svg (a picture)
  -o, --output FILE   write there and not to standard output
  -h, --help          print this text

Assumptions; each may be given several times:
  --exit C=CODE@TIME        the command of container C exits with CODE, or by a signal
                            (SIGSEGV), TIME after its start
  --exit C=never            it never ends by itself
  --ready C@TIME            its startup and readiness probes fail until then, and succeed
                            from then on; with `notify` it says READY=1 then
  --fail-probe C:KIND@TIME  its probe KIND (startup, liveness, readiness) fails from then on;
                            with @TIME..TIME for so long
  --oom C@TIME              the OOM killer ends it
  --stop-takes C=TIME       so long after SIGTERM it exits with 0; without this after 100ms
  --ignore-sigterm C        only SIGKILL ends it
  --stop @TIME              all pods are stopped, TIME from the beginning; a second stop
                            shortens what is left to 2 seconds

C is a container, `app`, or `pod/app` where several pods have one of this name. Its times count
from the start of its command, in every run of it; `app#2` is about its second run alone.
Without an assumption an init container exits with 0 after 1 second, any other runs for ever, and
probes succeed.

Exit status:
  0  it was simulated, whatever became of the pods
  1  a configuration file is wrong or cannot be read, or the pods request more than the
     machine has
  2  the command line is wrong, or something is assumed that cannot be
  3  it cannot be written, or a decision broke one of outrigger's own rules
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(words: &[&str]) -> Result<Command, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn commands_and_their_options_are_read() {
        let files = Files {
            config: Some("m.toml".into()),
            runtime: Some("runc".to_owned()),
            paths: vec!["a.toml".into(), "pods".into()],
        };
        let words = ["run", "a.toml", "--config", "m.toml", "--runtime=runc", "pods"];
        assert_eq!(parse_line(&words), Ok(Command::Run(files.clone())));
        let words = ["check", "-c", "m.toml", "--runtime", "runc", "a.toml", "pods"];
        assert_eq!(parse_line(&words), Ok(Command::Check(files)));
        assert_eq!(parse_line(&["run", "--help", "x"]), Ok(Command::Print(RUN_HELP)));
        assert_eq!(parse_line(&["help", "check"]), Ok(Command::Print(CHECK_HELP)));
        let mount = |options: &str| Command::Mount {
            source: "-s".to_owned(),
            path: "/p".to_owned(),
            kind: "ext4".to_owned(),
            options: options.to_owned(),
        };
        assert_eq!(parse_line(&["mount", "-s", "/p", "ext4", ""]), Ok(mount("")));
        assert_eq!(parse_line(&["mount", "-s", "/p", "ext4", "ro"]), Ok(mount("ro")));
        let module = Command::LoadModule("loop max_loop=4".to_owned());
        assert_eq!(parse_line(&["load-module", "loop max_loop=4"]), Ok(module));
        let simulation = Simulation {
            files: Files { paths: vec!["a.toml".into()], config: Some("m.toml".into()), runtime: None },
            assumptions: vec![Assumption::Stop { at: Duration::from_secs(90) }],
            until: Some(Duration::from_secs(100)),
            format: Format::Svg,
            output: Some("a.svg".into()),
        };
        let words =
            ["simulate", "--stop", "@1m30s", "a.toml", "-c", "m.toml", "--until=100s", "--format", "svg"];
        let words: Vec<&str> = words.into_iter().chain(["-o", "a.svg"]).collect();
        assert_eq!(parse_line(&words), Ok(Command::Simulate(simulation)));
        assert_eq!(parse_line(&["simulate"]), Ok(Command::Simulate(Simulation::default())));
        assert_eq!(parse_line(&["help", "simulate"]), Ok(Command::Print(SIMULATE_HELP)));
        assert_eq!(parse_line(&["unmount-all"]), Ok(Command::UnmountAll));
        assert_eq!(parse_line(&["--version"]), Ok(Command::Print(VERSION)));
        assert_eq!(parse_line(&[]), Ok(Command::Print(HELP)));
    }

    #[test]
    fn wrong_command_lines_say_what_is_wrong() {
        for (words, error) in [
            (&["start"][..], "unknown command `start`; there are `run`, `check` and `simulate`"),
            (&["run", "--colour"], "invalid option '--colour'"),
            (&["run", "--config"], "missing argument for option '--config'"),
            (&["--quiet"], "invalid option '--quiet'"),
            (&["simulate", "--runtime", "crun"], "invalid option '--runtime'"),
            (&["simulate", "--stop"], "missing argument for option '--stop'"),
            (&["simulate", "--format", "png"], "`--format png`: there are text, json and svg"),
            (&["mount", "/dev/sda1"], "1 arguments instead of 4"),
            (&["unmount-all", "now"], "1 arguments instead of 0"),
            (&["log-writer", "now"], "unexpected argument \"now\""),
        ] {
            assert_eq!(parse_line(words), Err(error.to_owned()), "{words:?}");
        }
    }
}
