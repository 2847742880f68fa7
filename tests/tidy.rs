//! The rules of the repository that a compiler does not check.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and this says so"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The pure parts: they decide and format, and reach no system call.
const PURE: [&str; 11] = [
    "src/cli.rs",
    "src/config",
    "src/limits.rs",
    "src/log",
    "src/oci",
    "src/outline.rs",
    "src/protocol",
    "src/simulator",
    "src/supervisor",
    "src/time.rs",
    "src/lib.rs",
];

/// Where unsafe code may stand: each file wraps system calls that no library has.
const SYSTEM_CALL_FILES: [&str; 10] = [
    "src/linux/crash.rs",
    "src/linux/delegation.rs",
    "src/linux/log_socket.rs",
    "src/linux/network_namespace.rs",
    "src/linux/pidfd.rs",
    "src/linux/reap.rs",
    "src/linux/spawn.rs",
    "src/linux/standard_streams.rs",
    "src/linux/unmount.rs",
    "src/linux/watchdog.rs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `path` (or itself), relative to the root, that end in `ending`.
fn files(path: &str, ending: &str) -> Vec<(String, String)> {
    let mut open = vec![root().join(path)];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing at {path} ends in {ending}");
    let relative = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let text = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    found.iter().map(|path| (relative(path), text(path))).collect()
}

/// The text of a source file without its unit tests, which may use what they need, and without
/// comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn pure_modules_do_not_reach_the_system() {
    let forbidden = [
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "std::thread",
        "std::time::",
        "std::io::std",
        "std::os::fd",
        "nix::",
        "libc::",
        "signal_hook",
        "cgroups_rs",
        "crate::linux",
        "crate::run",
        "println!",
        "eprint",
    ];
    for (path, text) in PURE.iter().flat_map(|path| files(path, ".rs")) {
        for word in forbidden {
            assert!(
                !code(&text).contains(word),
                "{path}: `{word}` belongs in src/linux; return an Action instead"
            );
        }
    }
}

#[test]
fn effects_do_not_decide() {
    // What happens next is the supervisor's to say; the machine knows its vocabulary only.
    for (path, text) in files("src/linux", ".rs") {
        for word in [
            "supervisor::startup",
            "supervisor::shutdown",
            "supervisor::restart",
            "supervisor::policy",
            "supervisor::upkeep",
        ] {
            assert!(!code(&text).contains(word), "{path}: `{word}` decides, and belongs in src/supervisor");
        }
    }
}

#[test]
fn unsafe_stands_only_in_system_call_files() {
    for (path, text) in files("src", ".rs") {
        let code = code(&text);
        if !SYSTEM_CALL_FILES.contains(&path.as_str()) {
            assert!(!code.contains("unsafe {") && !code.contains("unsafe_code"), "{path}: unsafe code");
        }
    }
    for path in SYSTEM_CALL_FILES {
        let (_, text) = files(path, ".rs").remove(0);
        assert!(code(&text).contains("unsafe {"), "{path} is safe now: take it off the list");
    }
}

#[test]
fn files_have_one_job() {
    const LINES_MAX: usize = 700;
    for (path, text) in files("src", ".rs").into_iter().chain(files("tests", ".rs")) {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{path} has {lines} lines; find the second noun in it");
    }
}

/// Machine files among the examples, by their name. All others are pods.
const MACHINE_FILES: [&str; 3] = ["outrigger.toml", "pid1.toml", "service.toml"];

#[test]
fn examples_load() {
    let source = |(path, text): &(String, String)| outrigger::config::Source {
        name: path.clone(),
        bytes: text.clone().into_bytes(),
    };
    let minimal = files("configs/minimal.toml", "").remove(0);
    let examples = files("configs", ".toml");
    let (machines, pods): (Vec<_>, Vec<_>) =
        examples.iter().partition(|(path, _)| MACHINE_FILES.iter().any(|name| path.ends_with(name)));
    let mut plans = Vec::new();
    for machine in machines {
        plans.push(outrigger::config::load(Some(&source(machine)), &[source(&minimal)]));
    }
    // The pods of such a directory name one another.
    let (together, alone): (Vec<_>, Vec<_>) =
        pods.into_iter().partition(|(path, _)| path.starts_with("configs/gateway-pods/"));
    plans.push(outrigger::config::load(None, &together.into_iter().map(source).collect::<Vec<_>>()));
    plans.extend(alone.into_iter().map(|pod| outrigger::config::load(None, &[source(pod)])));
    for plan in plans {
        if let Err(problems) = plan {
            panic!("{problems}");
        }
    }
}

#[test]
fn image_recipes_agree() {
    // Each of the two trees must be complete by itself, so these files are there twice.
    let board = "configs/buildroot/board/outrigger";
    let layer = "configs/yocto/meta-outrigger";
    for (one, other) in [
        ("linux.fragment", "recipes-kernel/linux/files/outrigger.cfg"),
        ("busybox.fragment", "recipes-core/busybox/files/outrigger.cfg"),
        (
            "rootfs_overlay/etc/outrigger/outrigger.toml",
            "recipes-core/outrigger/outrigger-conf/outrigger.toml",
        ),
        (
            "rootfs_overlay/etc/outrigger/pods/console.toml",
            "recipes-core/outrigger/outrigger-conf/pods/console.toml",
        ),
    ] {
        let (one, other) = (format!("{board}/{one}"), format!("{layer}/{other}"));
        assert!(files(&one, "")[0].1 == files(&other, "")[0].1, "{one} and {other} differ");
    }
}

#[test]
fn image_recipes_name_files_that_exist() {
    for (path, text) in files("configs", ".md") {
        let directory = root().join(&path).parent().unwrap().to_owned();
        let links: Vec<_> =
            text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap_or_default()).collect();
        assert!(!links.is_empty(), "{path} has no link");
        for link in links {
            assert!(directory.join(link).exists(), "{path} names {link}, which is not there");
        }
    }
}

#[test]
fn texts_name_nothing_outside_the_project() {
    let mut texts: Vec<(String, String)> = Vec::new();
    for (path, ending) in [("src", ".rs"), ("docs", ".md"), ("configs", ""), ("scripts", ""), ("systemd", "")]
    {
        texts.extend(files(path, ending));
    }
    for file in ["README.md", "CHANGELOG.md", "Makefile", "Cargo.toml"] {
        texts.extend(files(file, ""));
    }
    for (path, text) in texts {
        for word in ["/work/", "../shared", "helper-", "TODO", "FIXME", "XXX", "todo!", "unimplemented!"] {
            assert!(!text.contains(word), "{path} has `{word}`");
        }
    }
}

#[test]
fn the_changelog_names_the_version() {
    let (_, changelog) = files("CHANGELOG.md", "").remove(0);
    let version = env!("CARGO_PKG_VERSION");
    let named = changelog.contains(&format!("## [{version}]")) || changelog.contains("## [Unreleased]");
    assert!(named, "CHANGELOG.md knows neither {version} nor Unreleased");
}
