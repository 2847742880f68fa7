//! The command line: what it prints where, and its exit statuses.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::machine::OUTRIGGER;

fn folder(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

fn outrigger(words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(OUTRIGGER)
        .args(words)
        .env_remove("OUTRIGGER_RUNTIME")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn what_was_asked_for_is_on_standard_output() {
    for (words, beginning) in [
        (&[][..], "Runs pods of OCI containers"),
        (&["--help"], "Runs pods of OCI containers"),
        (&["help", "run"], "Runs pods in the foreground"),
        (&["run", "--help"], "Runs pods in the foreground"),
        (&["check", "-h"], "Says what is wrong with configuration files"),
        (&["--version"], concat!("outrigger ", env!("CARGO_PKG_VERSION"), "\n")),
        (&["-V"], concat!("outrigger ", env!("CARGO_PKG_VERSION"), "\n")),
    ] {
        let (status, stdout, stderr) = outrigger(words);
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{words:?}");
        assert!(stdout.starts_with(beginning), "{words:?}: {stdout}");
    }
}

#[test]
fn mistakes_are_on_standard_error() {
    for (words, code, beginning) in [
        (&["start"][..], 2, "outrigger: error: unknown command `start`"),
        (&["check", "--colour", "x"], 2, "outrigger: error: invalid option '--colour'"),
        (
            &["check", "/nonexistent.toml"],
            1,
            "error: cannot read `/nonexistent.toml`: No such file or directory",
        ),
        (
            &["run", "/nonexistent.toml"],
            1,
            "error: cannot read `/nonexistent.toml`: No such file or directory",
        ),
        (&["run", "-c", "/nonexistent.toml", "/dev/null"], 1, "error: cannot read `/nonexistent.toml`"),
        (&["check", "/proc/self/fdinfo"], 1, "error: cannot find a pod file in `/proc/self/fdinfo`"),
    ] {
        let (status, stdout, stderr) = outrigger(words);
        assert_eq!((status, stdout.as_str()), (Some(code), ""), "{words:?}: {stderr}");
        assert!(stderr.starts_with(beginning), "{words:?}: {stderr}");
        assert!(code != 2 || stderr.ends_with("; see `outrigger --help`\n"), "{words:?}: {stderr}");
    }
}

#[test]
fn a_folder_of_broken_files_is_told_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for entry in fs::read_dir(folder("tests/config_errors")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".toml") && !name.starts_with("machine-") {
            fs::copy(&path, directory.path().join(name)).unwrap();
            count += 1;
        }
    }
    assert!(count >= 25, "{count} files");
    let (status, stdout, stderr) = outrigger(&["check", directory.path().to_str().unwrap()]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    let errors = stderr.lines().filter(|line| line.starts_with("error: ")).count();
    println!("{count} broken files: {errors} errors");
    assert!(errors >= 25, "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn the_examples_are_right() {
    let machine_file = folder("configs/outrigger.toml");
    let mut pods = Vec::new();
    for entry in fs::read_dir(folder("configs")).unwrap() {
        let path = entry.unwrap().path();
        let machine_files = ["outrigger.toml", "pid1.toml", "service.toml"];
        if path.extension().is_some_and(|extension| extension == "toml")
            && !machine_files.iter().any(|name| path.ends_with(name))
        {
            pods.push(path.display().to_string());
        }
    }
    for pod in &pods {
        let (status, stdout, stderr) = outrigger(&["check", "--config", &machine_file, pod]);
        assert_eq!(status, Some(0), "{pod}: {stderr}");
        assert!(!stdout.is_empty() && stderr.is_empty(), "{pod}: {stderr}");
    }
    let demo = folder("configs/demo.toml");
    let (_, plan, _) = outrigger(&["check", &demo]);
    let position = |name: &str| plan.find(name).unwrap_or_else(|| panic!("no {name} in:\n{plan}"));
    assert!(position("secret-fetch") < position("network-proxy"), "{plan}");
    assert!(position("network-proxy") < position("log-collector"), "{plan}");
    assert!(position("log-collector") < position("worker"), "{plan}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut command = Command::new(OUTRIGGER);
    let mut child = command.arg("--help").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}
