//! Command lines of the OCI runtime, and what it answers.
//!
//! The OCI standard names the operations (runtime-spec, "Runtime and Lifecycle") but no command
//! line. What stands here is what crun(1) and runc(8) have in common, and the few places where
//! they differ. A runtime that is neither is refused: its switches would be a guess.
//!
//! Two things belong to whoever runs these commands. The environment must be empty but for
//! `PATH`: both runtimes act on `NOTIFY_SOCKET` and `LISTEN_FDS`, and ours are not the
//! container's. And the log file must be empty before a call, so that [`last_error`] speaks of
//! that call.

use core::fmt;

use serde::Deserialize;

/// Which runtime it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// <https://github.com/containers/crun>, C, below 1 MB.
    Crun,
    /// <https://github.com/opencontainers/runc>, Go, the reference.
    Runc,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Crun => "crun",
            Kind::Runc => "runc",
        })
    }
}

/// Who puts the container's process into its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupManager {
    /// The runtime makes `linux.cgroupsPath` by itself, without systemd, and puts its device
    /// rules there.
    Runtime,
    /// Nobody: the container stays in the cgroup that the runtime was started in, and the device
    /// rules are not enforced. For hosts whose cgroups crun refuses (hybrid layout, no
    /// `CAP_SYS_RESOURCE`). Only crun can.
    Disabled,
}

/// A runtime that is known, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    path: String,
    kind: Kind,
    version: Option<String>,
    cgroup_manager: CgroupManager,
}

impl Runtime {
    /// The runtime at `path`, if the name of the `file` that is executed there, all symbolic links
    /// followed, says which one it is.
    ///
    /// Its version stays open. To ask for it takes about as long as half a `create`, and most
    /// containers need nothing that came with a version.
    pub fn by_name(path: &str, file: &str) -> Option<Runtime> {
        let kind = match file.rsplit('/').next() {
            Some("crun") => Kind::Crun,
            Some("runc") => Kind::Runc,
            Some(_) | None => return None,
        };
        Some(Runtime { path: path.to_owned(), kind, version: None, cgroup_manager: CgroupManager::Runtime })
    }

    /// What `output` (of [`version_command`]) says about the runtime at `path`.
    ///
    /// # Errors
    /// [`RuntimeError::Unknown`] unless the first line reads `crun version …` or `runc version …`.
    pub fn identify(path: &str, output: &str) -> Result<Runtime, RuntimeError> {
        let first_line = output.lines().next().unwrap_or_default();
        let mut words = first_line.split_ascii_whitespace();
        let kind = match words.next() {
            Some("crun") => Some(Kind::Crun),
            Some("runc") => Some(Kind::Runc),
            Some(_) | None => None,
        };
        match (kind, words.next(), words.next()) {
            (Some(kind), Some("version"), Some(version)) => Ok(Runtime {
                path: path.to_owned(),
                kind,
                version: Some(version.to_owned()),
                cgroup_manager: CgroupManager::Runtime,
            }),
            _ => Err(RuntimeError::Unknown {
                path: path.to_owned(),
                first_line: first_line.chars().take(FIRST_LINE_CHARS_MAX).collect(),
            }),
        }
    }

    /// The same runtime with another choice of who handles the cgroup.
    ///
    /// # Errors
    /// [`RuntimeError::CgroupsNeeded`]: runc has no switch that turns its cgroups off.
    pub fn with_cgroup_manager(self, choice: CgroupManager) -> Result<Runtime, RuntimeError> {
        match (self.kind, choice) {
            (Kind::Runc, CgroupManager::Disabled) => Err(RuntimeError::CgroupsNeeded { path: self.path }),
            (Kind::Crun, CgroupManager::Disabled) | (Kind::Crun | Kind::Runc, CgroupManager::Runtime) => {
                Ok(Runtime { cgroup_manager: choice, ..self })
            }
        }
    }

    /// Who puts the container's process into its cgroup.
    pub fn cgroup_manager(&self) -> CgroupManager {
        self.cgroup_manager
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Which one it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its version as it writes it, such as `1.8.1` or `1.1.5+ds1`; `None` where it was not asked.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether the mount options `rro`, `rnosuid` and `rnodev` mean something to it: crun from
    /// 1.4, runc from 1.1.0. They also need Linux 5.12, mount_setattr(2). An older runtime takes
    /// them for data of the file system, which a bind mount silently drops. One whose version is
    /// not known counts as older.
    pub fn has_recursive_mount_options(&self) -> bool {
        let since = match self.kind {
            Kind::Crun => (1, 4),
            Kind::Runc => (1, 1),
        };
        self.version.as_deref().and_then(major_and_minor) >= Some(since)
    }
}

/// The first two numbers of a version. `None` (less than any version) where there are none.
fn major_and_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Longest first line of a `--version` output that an error repeats.
const FIRST_LINE_CHARS_MAX: usize = 100;

/// Why a program cannot be the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeError {
    /// It is neither crun nor runc.
    Unknown {
        /// Where it is.
        path: String,
        /// What it says first about itself.
        first_line: String,
    },
    /// It cannot leave the cgroups alone.
    CgroupsNeeded {
        /// Where it is.
        path: String,
    },
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuntimeError::Unknown { path, first_line } if first_line.is_empty() => write!(
                f,
                "cannot use runtime `{path}`: it says nothing when asked for its `--version`; install crun or runc"
            ),
            RuntimeError::Unknown { path, first_line } => write!(
                f,
                "cannot use runtime `{path}`: it calls itself `{first_line}`, only crun and runc are known; \
                 install one of them"
            ),
            RuntimeError::CgroupsNeeded { path } => {
                write!(
                    f,
                    "cannot use runtime `{path}` without cgroups: runc has no switch for that; install crun"
                )
            }
        }
    }
}

impl core::error::Error for RuntimeError {}

/// Asks a program for its name and version; the answer is for [`Runtime::identify`].
pub fn version_command(path: &str) -> Vec<String> {
    vec![path.to_owned(), "--version".to_owned()]
}

/// The runtime's name for a container: `<pod>.<container>`.
///
/// Unique, because a name is an RFC 1123 label and has no dot, and legal for both runtimes
/// (runc: letters, digits, `_+-.`; crun: no slash). At most 127 bytes, since it is a directory too.
pub fn container_id(pod: &str, container: &str) -> String {
    format!("{pod}.{container}")
}

/// What all commands about one container have in common.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// Who is asked.
    pub runtime: &'a Runtime,
    /// The directory where the runtime keeps its records; gone after a reboot, as the containers are.
    pub state_root: &'a str,
    /// Where the runtime writes what went wrong, for [`last_error`].
    pub log_file: &'a str,
    /// From [`container_id`].
    pub id: &'a str,
}

impl Container<'_> {
    /// Makes the container from `<bundle>/config.json`, up to the moment before its command runs.
    ///
    /// When it has ended with 0, `pid_file` has the number of the container's first process, and
    /// that process is a child of the nearest subreaper above the runtime. Our own standard
    /// streams become the container's.
    pub fn create(&self, bundle: &str, pid_file: &str) -> Vec<String> {
        let mut words = self.words("create");
        words.push(format!("--bundle={bundle}"));
        words.push(format!("--pid-file={pid_file}"));
        words.push(self.id.to_owned());
        words
    }

    /// Lets the command of a created container run.
    pub fn start(&self) -> Vec<String> {
        let mut words = self.words("start");
        words.push(self.id.to_owned());
        words
    }

    /// Kills what is left of the container and forgets it. Ends with 0 for a container that never
    /// was, too, so it needs no question before it.
    pub fn delete(&self) -> Vec<String> {
        let mut words = self.words("delete");
        words.push("--force".to_owned());
        words.push(self.id.to_owned());
        words
    }

    /// Runs a command in the running container, and ends with its exit code.
    ///
    /// `process_file` has the command and all that it may do (`spec::generate_process`,
    /// `bundle::generate_process`). Not the command as words of this line: crun before 1.16.1
    /// would then run it as root, without "no new privileges" and in `/`, whatever the container has.
    ///
    /// 255 is a command that could not be run, if there is a [`last_error`]; else it is the
    /// command's own code. `pid_file` gets the number of the command's process; killing
    /// the runtime does not kill it. None of the three standard streams may be the host's
    /// `/dev/null`: crun gives them to the container's user (fchown(2)), and with them the node.
    pub fn exec(&self, process_file: &str, pid_file: &str) -> Vec<String> {
        let mut words = self.words("exec");
        words.push(format!("--process={process_file}"));
        words.push(format!("--pid-file={pid_file}"));
        words.push(self.id.to_owned());
        words
    }

    /// The program, its global switches and `operation`.
    fn words(&self, operation: &str) -> Vec<String> {
        let mut words = vec![
            self.runtime.path.clone(),
            format!("--root={}", self.state_root),
            format!("--log={}", self.log_file),
            // Not the text format: runc's has the message between other fields, with
            // quotes escaped; in JSON both runtimes say the same.
            "--log-format=json".to_owned(),
        ];
        match (self.runtime.kind, self.runtime.cgroup_manager) {
            (Kind::Crun, CgroupManager::Runtime) => words.push("--cgroup-manager=cgroupfs".to_owned()),
            (Kind::Crun, CgroupManager::Disabled) => words.push("--cgroup-manager=disabled".to_owned()),
            // Its default, and the only choice besides systemd.
            (Kind::Runc, CgroupManager::Runtime | CgroupManager::Disabled) => {}
        }
        words.push(operation.to_owned());
        words
    }
}

/// One line of a runtime's log file.
#[derive(Deserialize)]
struct LogLine {
    msg: String,
    level: String,
}

/// The last error message in a runtime's log, without time and level.
///
/// `log` is the text of the log file or, where that is empty, of the runtime's standard error:
/// crun looks for the bundle before it opens its log. A line that is no log entry (such text, or
/// a line cut by a bound) is a message as it stands. `None` if there is no error at all.
pub fn last_error(log: &str) -> Option<String> {
    log.lines().rev().map(str::trim).filter(|line| !line.is_empty()).find_map(|line| {
        match serde_json::from_str::<LogLine>(line) {
            Ok(entry) if matches!(entry.level.as_str(), "error" | "fatal" | "panic") => Some(entry.msg),
            Ok(_) => None,
            Err(_) => Some(line.to_owned()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRUN: &str =
        "crun version 1.8.1\ncommit: f8a096be\nrundir: /run/crun\nspec: 1.0.0\n+SYSTEMD +SELINUX\n";
    const RUNC: &str = "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\ngo: go1.19.8\n";

    fn runtime(output: &str, choice: CgroupManager) -> Runtime {
        Runtime::identify("/usr/bin/rt", output).unwrap().with_cgroup_manager(choice).unwrap()
    }

    fn container(runtime: &Runtime) -> Container<'_> {
        Container { runtime, state_root: "/run/o/oci", log_file: "/run/o/log", id: "gateway.app" }
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn a_runtime_is_known_by_its_first_line() {
        for (output, expected) in [
            (CRUN, Ok((Kind::Crun, "1.8.1"))),
            (RUNC, Ok((Kind::Runc, "1.1.5+ds1"))),
            ("crun version 1.15.0.0.0.23-3856\r\n", Ok((Kind::Crun, "1.15.0.0.0.23-3856"))),
            ("runc version 1.3.0-rc.1", Ok((Kind::Runc, "1.3.0-rc.1"))),
            ("youki version 0.5.3\ncrun version 1.0\n", Err("youki version 0.5.3")),
            ("crun version\n", Err("crun version")),
            ("crun 1.8\n", Err("crun 1.8")),
            ("\ncrun version 1.8.1\n", Err("")),
            ("", Err("")),
        ] {
            let found = Runtime::identify("/usr/bin/rt", output);
            let found = found
                .as_ref()
                .map(|found| (found.kind(), found.version().unwrap_or_default()))
                .map_err(|error| match error {
                    RuntimeError::Unknown { first_line, .. } => first_line.as_str(),
                    RuntimeError::CgroupsNeeded { .. } => "cgroups",
                });
            assert_eq!(found, expected, "{output:?}");
        }
    }

    #[test]
    fn a_runtime_is_known_by_its_name() {
        for (path, kind) in [
            ("/usr/bin/crun", Some(Kind::Crun)),
            ("/usr/sbin/runc", Some(Kind::Runc)),
            ("/opt/crun-1.8.1", None),
            ("/opt/crun/bin/youki", None),
            ("/opt/crun/", None),
            ("", None),
        ] {
            let named = Runtime::by_name("/usr/bin/rt", path);
            assert_eq!(named.as_ref().map(Runtime::kind), kind, "{path}");
            assert_eq!(named.as_ref().and_then(Runtime::version), None, "{path}");
            assert!(!named.is_some_and(|runtime| runtime.has_recursive_mount_options()), "{path}");
        }
    }

    #[test]
    fn only_the_beginning_of_a_long_first_line_is_kept() {
        let error = Runtime::identify("/bin/cat", &"é".repeat(5000)).unwrap_err();
        let first_line = "é".repeat(FIRST_LINE_CHARS_MAX);
        assert_eq!(error, RuntimeError::Unknown { path: "/bin/cat".to_owned(), first_line });
    }

    #[test]
    fn every_error_names_the_runtime_and_the_way_out() {
        let unknown = |output| Runtime::identify("/bin/x", output).unwrap_err().to_string();
        assert_eq!(
            unknown("BusyBox v1.35.0\n"),
            "cannot use runtime `/bin/x`: it calls itself `BusyBox v1.35.0`, only crun and runc are known; \
             install one of them"
        );
        assert_eq!(
            unknown(""),
            "cannot use runtime `/bin/x`: it says nothing when asked for its `--version`; install crun or runc"
        );
        let runc = Runtime::identify("/sbin/runc", RUNC).unwrap();
        assert_eq!(
            runc.with_cgroup_manager(CgroupManager::Disabled).unwrap_err().to_string(),
            "cannot use runtime `/sbin/runc` without cgroups: runc has no switch for that; install crun"
        );
    }

    #[test]
    fn recursive_mount_options_come_with_a_version() {
        for (output, expected) in [
            ("crun version 1.3", false),
            ("crun version 1.4", true),
            ("crun version 1.15", true),
            ("crun version 0.17", false),
            ("crun version UNKNOWN", false),
            ("runc version 1.0.3", false),
            ("runc version 1.1.0", true),
            ("runc version 1.1.5+ds1", true),
            ("runc version 2.0.0", true),
        ] {
            let runtime = Runtime::identify("rt", output).unwrap();
            assert_eq!(runtime.has_recursive_mount_options(), expected, "{output}");
        }
    }

    #[test]
    fn command_lines_of_crun_with_its_own_cgroups() {
        let runtime = runtime(CRUN, CgroupManager::Runtime);
        let container = container(&runtime);
        let global = [
            "/usr/bin/rt",
            "--root=/run/o/oci",
            "--log=/run/o/log",
            "--log-format=json",
            "--cgroup-manager=cgroupfs",
        ];
        for (words, rest) in [
            (
                container.create("/run/o/b", "/run/o/pid"),
                &["create", "--bundle=/run/o/b", "--pid-file=/run/o/pid", "gateway.app"][..],
            ),
            (container.start(), &["start", "gateway.app"]),
            (container.delete(), &["delete", "--force", "gateway.app"]),
            (
                container.exec("/run/o/probe", "/run/o/pid"),
                &["exec", "--process=/run/o/probe", "--pid-file=/run/o/pid", "gateway.app"],
            ),
        ] {
            assert_eq!(words, strings(&[&global, rest].concat()));
        }
    }

    #[test]
    fn who_handles_cgroups_is_said_to_crun_only() {
        for (output, choice, expected) in [
            (CRUN, CgroupManager::Runtime, Some("--cgroup-manager=cgroupfs")),
            (CRUN, CgroupManager::Disabled, Some("--cgroup-manager=disabled")),
            (RUNC, CgroupManager::Runtime, None),
        ] {
            let runtime = runtime(output, choice);
            let words = container(&runtime).start();
            let said = words.iter().find(|word| word.contains("cgroup"));
            assert_eq!(said.map(String::as_str), expected, "{} {choice:?}", runtime.kind());
        }
    }

    #[test]
    fn names_with_dashes_do_not_collide() {
        assert_eq!(container_id("gateway", "app"), "gateway.app");
        assert_ne!(container_id("a-b", "c"), container_id("a", "b-c"));
    }

    #[test]
    fn the_last_error_is_the_message_alone() {
        for (log, expected) in [
            ("", None),
            ("\n \n", None),
            (
                r#"{"msg":"executable file `/nope` not found in $PATH: No such file or directory","level":"error","time":"2026-01-02T03:04:05.304570Z"}"#,
                Some("executable file `/nope` not found in $PATH: No such file or directory"),
            ),
            (
                r#"{"level":"error","msg":"exec failed: \"/nope\": no such file","time":"2026-01-02T03:04:05Z"}"#,
                Some("exec failed: \"/nope\": no such file"),
            ),
            (
                "{\"level\":\"error\",\"msg\":\"first\"}\n{\"level\":\"error\",\"msg\":\"last\"}\n",
                Some("last"),
            ),
            (
                "{\"level\":\"error\",\"msg\":\"broken\"}\n{\"level\":\"warning\",\"msg\":\"slow\"}\n",
                Some("broken"),
            ),
            (r#"{"level":"warning","msg":"slow"}"#, None),
            (r#"{"level":"fatal","msg":"out of memory"}"#, Some("out of memory")),
            (
                "chdir `/nonexistent` failed: No such file or directory\n",
                Some("chdir `/nonexistent` failed: No such file or directory"),
            ),
            (r#"{"level":"error","msg":"cut he"#, Some(r#"{"level":"error","msg":"cut he"#)),
        ] {
            assert_eq!(last_error(log).as_deref(), expected, "{log}");
        }
    }
}
