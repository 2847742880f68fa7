//! A ready OCI bundle: used as it is, except for its cgroup, which must be ours.
//!
//! The adapted `config.json` is written to a directory of ours, since a bundle may lie on a
//! read-only file system; so what it says relative to the bundle is made absolute. Fields that
//! are not known here pass through, though their order may change. Numbers beyond 64 bits lose
//! precision, and of a repeated key the last one stays; the specification needs neither.

use core::fmt;

use serde_json::{Map, Value};

use super::notify::{self, Notify};
use crate::limits::FILE_BYTES_MAX;

/// The `config.json` for the runtime: `config_json`, which is that of the bundle in the directory
/// `bundle` (absolute), with `cgroups_path` (absolute from the hierarchy's root) as its cgroup, and
/// with `oom_score_adj` for the OOM killer unless it says something itself, and with `notify`, if
/// the container is to speak for itself.
///
/// # Errors
/// [`BundleError`], if it is not what the runtime needs or asks for a terminal.
pub fn adapt(
    config_json: &[u8],
    bundle: &str,
    cgroups_path: &str,
    oom_score_adj: i32,
    notify: Option<Notify<'_>>,
) -> Result<Vec<u8>, BundleError> {
    let refuse = |cause| BundleError { bundle: bundle.to_owned(), cause };
    let mut config = parse(config_json).map_err(refuse)?;
    let process = check_process(&mut config).map_err(refuse)?;
    if process.get("oomScoreAdj").is_none_or(Value::is_null) {
        process.insert("oomScoreAdj".to_owned(), Value::from(oom_score_adj));
    }
    adapt_root(&mut config, bundle).map_err(refuse)?;
    adapt_mounts(&mut config, bundle).map_err(refuse)?;
    if let Some(notify) = notify {
        add_notify(&mut config, notify).map_err(refuse)?;
    }
    adapt_cgroup(&mut config, cgroups_path).map_err(refuse)?;
    to_json(&config).map_err(refuse)
}

/// The adapted `config_json` of a bundle with one more mount: `file` of the host at `path` in the
/// container, to be written.
///
/// # Errors
/// [`BundleError`], if it is not what [`adapt`] gives.
pub fn mount_file(config_json: &[u8], bundle: &str, file: &str, path: &str) -> Result<Vec<u8>, BundleError> {
    let refuse = |cause| BundleError { bundle: bundle.to_owned(), cause };
    let mut config = parse(config_json).map_err(refuse)?;
    let mounts = config.entry("mounts").or_insert(Value::Null);
    if mounts.is_null() {
        *mounts = Value::Array(Vec::new());
    }
    let Value::Array(mounts) = mounts else {
        return Err(refuse(BundleCause::WrongKind { field: "mounts", expected: "an array" }));
    };
    mounts.push(serde_json::json!({
        "destination": path,
        "type": "bind",
        "source": file,
        "options": ["bind", "rprivate", "rw", "nosuid", "nodev", "noexec"],
    }));
    to_json(&config).map_err(refuse)
}

/// The process.json of a `command` that is to run in the bundle's container beside its own: the
/// same user, environment, working directory and rights.
///
/// # Errors
/// [`BundleError`], as [`adapt`].
pub fn generate_process(
    config_json: &[u8],
    bundle: &str,
    command: &[String],
) -> Result<Vec<u8>, BundleError> {
    let refuse = |cause| BundleError { bundle: bundle.to_owned(), cause };
    let mut config = parse(config_json).map_err(refuse)?;
    let process = check_process(&mut config).map_err(refuse)?;
    let args = command.iter().map(|word| Value::from(word.as_str())).collect();
    process.insert("args".to_owned(), Value::Array(args));
    to_json(process).map_err(refuse)
}

/// A bundle that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleError {
    /// Its directory.
    pub bundle: String,
    /// What is wrong with its `config.json`.
    pub cause: BundleCause,
}

/// What is wrong with a `config.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleCause {
    /// It has this many bytes, more than `FILE_BYTES_MAX`.
    TooLarge(usize),
    /// It is not JSON, or nested more than 127 deep; what serde_json says, with line and column.
    NotJson(String),
    /// A field that must be there is missing.
    Missing(&'static str),
    /// A field is not of the kind that it must be.
    WrongKind {
        /// The field; empty for the whole document.
        field: &'static str,
        /// What it must be, with its article.
        expected: &'static str,
    },
    /// `process.terminal` is true.
    Terminal,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use bundle `{}`: ", self.bundle)?;
        match &self.cause {
            BundleCause::TooLarge(bytes) => {
                write!(
                    f,
                    "its config.json has {bytes} bytes, more than {FILE_BYTES_MAX}; is it the right file?"
                )
            }
            BundleCause::NotJson(error) => {
                write!(f, "its config.json is not JSON: {error}; `runc spec` writes one to start from")
            }
            BundleCause::Missing(field) => {
                write!(f, "its config.json has no `{field}`; `runc spec` writes one to start from")
            }
            BundleCause::WrongKind { field: "", expected } => {
                write!(f, "its config.json is not {expected}; `runc spec` writes one to start from")
            }
            BundleCause::WrongKind { field, expected } => {
                write!(f, "`{field}` in its config.json is not {expected}; correct it")
            }
            BundleCause::Terminal => f.write_str(
                "`process.terminal` in its config.json is true, but nobody would sit before the terminal; \
                 set it to false, then the output goes to the log",
            ),
        }
    }
}

impl core::error::Error for BundleError {}

const OBJECT: &str = "an object";
const STRING: &str = "a string";

fn parse(config_json: &[u8]) -> Result<Map<String, Value>, BundleCause> {
    if config_json.len() > FILE_BYTES_MAX {
        return Err(BundleCause::TooLarge(config_json.len()));
    }
    match serde_json::from_slice(config_json) {
        Ok(Value::Object(config)) => Ok(config),
        Ok(_) => Err(BundleCause::WrongKind { field: "", expected: OBJECT }),
        Err(error) => Err(BundleCause::NotJson(error.to_string())),
    }
}

fn to_json(object: &Map<String, Value>) -> Result<Vec<u8>, BundleCause> {
    serde_json::to_vec(object).map_err(|error| BundleCause::NotJson(error.to_string()))
}

fn check_process(config: &mut Map<String, Value>) -> Result<&mut Map<String, Value>, BundleCause> {
    let process = object(config, "process")?;
    match process.get("terminal") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(process),
        Some(Value::Bool(true)) => Err(BundleCause::Terminal),
        Some(_) => Err(BundleCause::WrongKind { field: "process.terminal", expected: "true or false" }),
    }
}

fn adapt_root(config: &mut Map<String, Value>, bundle: &str) -> Result<(), BundleCause> {
    match object(config, "root")?.get_mut("path") {
        Some(Value::String(path)) => {
            make_absolute(path, bundle);
            Ok(())
        }
        Some(_) => Err(BundleCause::WrongKind { field: "root.path", expected: STRING }),
        None => Err(BundleCause::Missing("root.path")),
    }
}

/// The container's own variables of these names give way: they would lead nowhere.
fn add_notify(config: &mut Map<String, Value>, notify: Notify<'_>) -> Result<(), BundleCause> {
    let mount = serde_json::json!({
        "destination": notify::SOCKET, "type": "bind", "source": notify.socket, "options": notify::OPTIONS,
    });
    append(config, "mounts", "mounts", [mount])?;
    let variables = notify::variables(notify::SOCKET, notify.watchdog_timeout);
    let process = object(config, "process")?;
    if let Some(Value::Array(env)) = process.get_mut("env") {
        env.retain(|variable| {
            let name = variable.as_str().and_then(|variable| variable.split_once('=')).map(|(name, _)| name);
            !matches!(name, Some("NOTIFY_SOCKET" | "WATCHDOG_USEC" | "WATCHDOG_PID"))
        });
    }
    append(process, "env", "process.env", variables.into_iter().map(Value::from))
}

fn append(
    table: &mut Map<String, Value>,
    key: &str,
    field: &'static str,
    values: impl IntoIterator<Item = Value>,
) -> Result<(), BundleCause> {
    let list = table.entry(key).or_insert(Value::Null);
    if list.is_null() {
        *list = Value::Array(Vec::new());
    }
    let Value::Array(list) = list else {
        return Err(BundleCause::WrongKind { field, expected: "an array" });
    };
    list.extend(values);
    Ok(())
}

/// Only bind mounts have a source that is a path; `proc`, `tmpfs` and so on are just words.
fn adapt_mounts(config: &mut Map<String, Value>, bundle: &str) -> Result<(), BundleCause> {
    let mounts = match config.get_mut("mounts") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(mounts)) => mounts,
        Some(_) => return Err(BundleCause::WrongKind { field: "mounts", expected: "an array" }),
    };
    for mount in mounts {
        let Value::Object(mount) = mount else {
            return Err(BundleCause::WrongKind { field: "mounts", expected: "an array of objects" });
        };
        if !is_bind(mount) {
            continue;
        }
        match mount.get_mut("source") {
            Some(Value::String(source)) => make_absolute(source, bundle),
            None => return Err(BundleCause::Missing("mounts[].source")),
            Some(_) => {
                return Err(BundleCause::WrongKind { field: "mounts[].source", expected: STRING });
            }
        }
    }
    Ok(())
}

/// The specification tells a bind mount by its options; runc takes the type for it as well.
fn is_bind(mount: &Map<String, Value>) -> bool {
    let by_type = mount.get("type").and_then(Value::as_str) == Some("bind");
    let by_option = mount.get("options").and_then(Value::as_array).is_some_and(|options| {
        options.iter().any(|option| matches!(option.as_str(), Some("bind" | "rbind")))
    });
    by_type || by_option
}

fn adapt_cgroup(config: &mut Map<String, Value>, cgroups_path: &str) -> Result<(), BundleCause> {
    let linux = config.entry("linux").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(linux) = linux else {
        return Err(BundleCause::WrongKind { field: "linux", expected: OBJECT });
    };
    linux.insert("cgroupsPath".to_owned(), Value::from(cgroups_path));
    Ok(())
}

fn object<'c>(
    config: &'c mut Map<String, Value>,
    field: &'static str,
) -> Result<&'c mut Map<String, Value>, BundleCause> {
    match config.get_mut(field) {
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(BundleCause::WrongKind { field, expected: OBJECT }),
        None => Err(BundleCause::Missing(field)),
    }
}

/// Both runtimes read a relative path against the directory of the `config.json`.
fn make_absolute(path: &mut String, bundle: &str) {
    if !path.starts_with('/') {
        *path = format!("{}/{path}", bundle.trim_end_matches('/'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BUNDLE: &str = "/srv/app";
    const CGROUP: &str = "/outrigger/gateway/app/payload";

    fn adapted(config: &Value) -> Value {
        let text = adapt(config.to_string().as_bytes(), BUNDLE, CGROUP, 900, None).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn refused(config_json: &[u8]) -> String {
        adapt(config_json, BUNDLE, CGROUP, 900, None).unwrap_err().to_string()
    }

    #[test]
    fn all_but_cgroup_and_relative_paths_stays() {
        let config = json!({
            "ociVersion": "1.1.0",
            "process": {"terminal": false, "args": ["/bin/app"], "cwd": "/", "rlimits": [{"type": "RLIMIT_NOFILE", "hard": u64::MAX, "soft": 1}]},
            "root": {"path": "rootfs", "readonly": false},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/a", "type": "bind", "source": "data", "options": ["ro"]},
                {"destination": "/b", "source": "../common", "options": ["nosuid", "rbind"]},
                {"destination": "/c", "type": "none", "source": "/srv/c", "options": ["bind"]},
            ],
            "hooks": {"poststop": [{"path": "/bin/true"}]},
            "linux": {"cgroupsPath": "system.slice:x:y", "resources": {"memory": {"limit": 1}}, "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}},
            "x-unknown": [1.5, null, -1],
        });
        let mut expected = config.clone();
        expected["root"]["path"] = json!("/srv/app/rootfs");
        expected["mounts"][1]["source"] = json!("/srv/app/data");
        expected["mounts"][2]["source"] = json!("/srv/app/../common");
        expected["linux"]["cgroupsPath"] = json!(CGROUP);
        expected["process"]["oomScoreAdj"] = json!(900);
        assert_eq!(adapted(&config), expected);
    }

    #[test]
    fn one_that_speaks_for_itself_gets_a_socket_and_is_told_where() {
        use core::time::Duration;
        for (mut config, mounts_before, env_before) in [
            (json!({"process": {}, "root": {"path": "/r"}}), 0, vec![]),
            (
                json!({
                    "process": {"env": ["A=b", "NOTIFY_SOCKET=/x", "WATCHDOG_USEC=1", "WATCHDOG_PID=7"]},
                    "root": {"path": "/r"},
                    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
                }),
                1,
                vec!["A=b"],
            ),
        ] {
            let notify =
                Notify { socket: "/run/n/7/socket", watchdog_timeout: Some(Duration::from_millis(1500)) };
            let text = adapt(config.to_string().as_bytes(), BUNDLE, CGROUP, 900, Some(notify)).unwrap();
            let mut adapted: Value = serde_json::from_slice(&text).unwrap();
            let mount = adapted["mounts"][mounts_before].take();
            assert_eq!(mount["source"], "/run/n/7/socket");
            assert_eq!(mount["destination"], "/dev/notify-socket");
            let mut env = env_before;
            env.extend(["NOTIFY_SOCKET=/dev/notify-socket", "WATCHDOG_USEC=1500000"]);
            assert_eq!(adapted["process"]["env"], json!(env));
            config["mounts"] = json!("none");
            let refused = adapt(config.to_string().as_bytes(), BUNDLE, CGROUP, 900, Some(notify));
            assert!(refused.unwrap_err().to_string().contains("`mounts` in its config.json is not an array"));
        }
    }

    #[test]
    fn a_bundle_without_linux_gets_its_cgroup_too() {
        let config = json!({"process": {}, "root": {"path": "/srv/rootfs"}});
        let expected = json!({"process": {"oomScoreAdj": 900}, "root": {"path": "/srv/rootfs"}, "linux": {"cgroupsPath": CGROUP}});
        assert_eq!(adapted(&config), expected);
    }

    #[test]
    fn what_a_bundle_says_to_the_oom_killer_stays() {
        for (own, expected) in [(json!(0), 0), (json!(-500), -500), (json!(null), 900)] {
            let config = json!({"process": {"oomScoreAdj": own}, "root": {"path": "/srv/rootfs"}});
            assert_eq!(adapted(&config)["process"]["oomScoreAdj"], expected);
        }
    }

    #[test]
    fn a_closing_slash_of_the_bundle_is_not_doubled() {
        let mut path = "rootfs".to_owned();
        make_absolute(&mut path, "/srv/app/");
        assert_eq!(path, "/srv/app/rootfs");
    }

    #[test]
    fn what_cannot_run_is_refused_with_a_way_out() {
        for (config, expected) in [
            (
                r#"{"process":{"terminal":true},"root":{"path":"/r"}}"#,
                "`process.terminal` in its config.json is true, but nobody would sit before the terminal; \
                 set it to false, then the output goes to the log",
            ),
            (
                "",
                "its config.json is not JSON: EOF while parsing a value at line 1 column 0; `runc spec` writes one to start from",
            ),
            ("[]", "its config.json is not an object; `runc spec` writes one to start from"),
            (
                r#"{"root":{"path":"/r"}}"#,
                "its config.json has no `process`; `runc spec` writes one to start from",
            ),
            (r#"{"process":{}}"#, "its config.json has no `root`; `runc spec` writes one to start from"),
            (
                r#"{"process":{},"root":{}}"#,
                "its config.json has no `root.path`; `runc spec` writes one to start from",
            ),
            (
                r#"{"process":null,"root":{"path":"/r"}}"#,
                "`process` in its config.json is not an object; correct it",
            ),
            (
                r#"{"process":{"terminal":1},"root":{"path":"/r"}}"#,
                "`process.terminal` in its config.json is not true or false; correct it",
            ),
            (r#"{"process":{},"root":"/r"}"#, "`root` in its config.json is not an object; correct it"),
            (
                r#"{"process":{},"root":{"path":7}}"#,
                "`root.path` in its config.json is not a string; correct it",
            ),
            (
                r#"{"process":{},"root":{"path":"/r"},"linux":[]}"#,
                "`linux` in its config.json is not an object; correct it",
            ),
            (
                r#"{"process":{},"root":{"path":"/r"},"mounts":{}}"#,
                "`mounts` in its config.json is not an array; correct it",
            ),
            (
                r#"{"process":{},"root":{"path":"/r"},"mounts":[0]}"#,
                "`mounts` in its config.json is not an array of objects; correct it",
            ),
            (
                r#"{"process":{},"root":{"path":"/r"},"mounts":[{"type":"bind"}]}"#,
                "its config.json has no `mounts[].source`; `runc spec` writes one to start from",
            ),
            (
                r#"{"process":{},"root":{"path":"/r"},"mounts":[{"type":"bind","source":1}]}"#,
                "`mounts[].source` in its config.json is not a string; correct it",
            ),
        ] {
            assert_eq!(
                refused(config.as_bytes()),
                format!("cannot use bundle `/srv/app`: {expected}"),
                "{config}"
            );
        }
    }

    #[test]
    fn a_depth_bomb_is_refused() {
        for nested in ["[".repeat(10_000), "{\"a\":".repeat(10_000)] {
            let text = refused(format!("{{\"process\":{nested}").as_bytes());
            assert!(text.contains("recursion limit exceeded"), "{text}");
        }
    }

    #[test]
    fn a_file_beyond_the_bound_is_not_parsed() {
        let mut exact = r#"{"process":{},"root":{"path":"/r"}}"#.to_owned();
        exact.push_str(&" ".repeat(FILE_BYTES_MAX - exact.len()));
        assert!(adapt(exact.as_bytes(), BUNDLE, CGROUP, 0, None).is_ok());
        assert_eq!(
            refused((exact + " ").as_bytes()),
            "cannot use bundle `/srv/app`: its config.json has 262145 bytes, more than 262144; is it the right file?"
        );
    }

    #[test]
    fn a_probe_differs_from_the_containers_process_in_its_command_only() {
        let config = json!({
            "process": {"user": {"uid": 7, "additionalGids": [8]}, "args": ["/bin/app"], "cwd": "/data", "noNewPrivileges": true},
            "root": {"path": "rootfs"},
        });
        let command = ["/bin/check".to_owned(), "now".to_owned()];
        let text = generate_process(config.to_string().as_bytes(), BUNDLE, &command).unwrap();
        let expected = json!({"user": {"uid": 7, "additionalGids": [8]}, "args": ["/bin/check", "now"], "cwd": "/data", "noNewPrivileges": true});
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn a_probe_of_a_broken_bundle_is_refused_as_the_bundle_is() {
        let error = generate_process(b"{}", BUNDLE, &[]).unwrap_err();
        assert_eq!(error, BundleError { bundle: BUNDLE.to_owned(), cause: BundleCause::Missing("process") });
    }
}
