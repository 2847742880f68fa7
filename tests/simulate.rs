//! `outrigger simulate` as a user sees it: what it prints and writes, byte by byte.
//!
//! | in `tests/simulate/` | |
//! |---|---|
//! | a folder | a situation: its pods, `arguments` (a word a line), and what comes out in each format |
//! | `mistakes/*.arguments` | what cannot be assumed of the pods in `mistakes/pods`, and the `*.expected` message |
//!
//! `UPDATE_EXPECTED=1 cargo test --test simulate` writes the expected files anew, and the picture
//! of docs/simulate.md; read (and look at) the difference before you commit it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy exempts test functions, but not what they call"
)]

mod golden;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use self::golden::compare;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is in a folder, sorted by name.
fn entries(folder: &str) -> Vec<PathBuf> {
    let folder = root().join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn simulate(words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .arg("simulate")
        .args(["-c", "tests/simulate/machine.toml"])
        .args(words)
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn words(arguments: &Path) -> Vec<String> {
    fs::read_to_string(arguments).unwrap().lines().map(str::to_owned).collect()
}

/// The folders with situations.
fn situations() -> Vec<PathBuf> {
    let is_situation = |path: &PathBuf| path.join("arguments").exists();
    let situations: Vec<PathBuf> = entries("tests/simulate").into_iter().filter(is_situation).collect();
    assert!(situations.len() >= 5, "only {} situations were found", situations.len());
    situations
}

fn show(situation: &Path, format: &str) -> String {
    let arguments = words(&situation.join("arguments"));
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let folder = situation.strip_prefix(root()).unwrap().to_str().unwrap();
    all.extend([folder, "--format", format]);
    let (status, stdout, stderr) = simulate(&all);
    assert_eq!((status, stderr.as_str()), (Some(0), ""), "{}", situation.display());
    stdout
}

#[test]
fn every_situation_is_shown_as_expected() {
    let mut wrong = Vec::new();
    for situation in situations() {
        for format in ["text", "json", "svg"] {
            let expected = situation.join(format!("expected.{format}"));
            wrong.extend(compare(&expected, &show(&situation, format)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn json_is_one_line_that_reads_as_json() {
    for situation in situations() {
        let json = show(&situation, "json");
        assert_eq!(json.find('\n'), Some(json.len() - 1), "{}", situation.display());
        let document: serde_json::Value = serde_json::from_str(&json).unwrap();
        for bar in document["bars"].as_array().unwrap() {
            assert!(bar["from_ms"].as_u64() <= bar["to_ms"].as_u64(), "{bar}");
            assert!(bar["to_ms"].as_u64() <= document["end"]["at_ms"].as_u64(), "{bar}");
        }
        let names: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
        let told = fs::read_to_string(root().join("docs/simulate.md")).unwrap();
        for name in names {
            assert!(told.contains(&format!("| `{name}`")), "docs/simulate.md does not tell of `{name}`");
        }
    }
}

#[test]
fn every_mistake_has_its_message() {
    let mut wrong = Vec::new();
    let is_mistake = |path: &PathBuf| path.extension().is_some_and(|it| it == "arguments");
    let mistakes: Vec<PathBuf> = entries("tests/simulate/mistakes").into_iter().filter(is_mistake).collect();
    assert!(mistakes.len() >= 30, "only {} mistakes were found", mistakes.len());
    for mistake in mistakes {
        let arguments = words(&mistake);
        let mut all: Vec<&str> = vec!["tests/simulate/mistakes/pods"];
        all.extend(arguments.iter().map(String::as_str));
        let (status, stdout, stderr) = simulate(&all);
        assert_eq!(stdout, "", "{}", mistake.display());
        let actual = format!("{stderr}exit status {}\n", status.unwrap());
        wrong.extend(compare(&mistake.with_extension("expected"), &actual));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn wrong_files_are_told_as_by_check() {
    let (status, stdout, stderr) = simulate(&["tests/config_errors/unknown-key.toml"]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with("error: "), "{stderr}");
}

/// The example of the documentation: its command, what that prints, and its picture.
#[test]
fn the_example_in_the_documentation_is_what_comes_out() {
    let document = fs::read_to_string(root().join("docs/simulate.md")).unwrap();
    let mut blocks = document.split("```").skip(1).step_by(2);
    let command = blocks.find_map(|block| block.strip_prefix("sh\noutrigger simulate ")).unwrap();
    let command = command.replace("\\\n", " ");
    let words: Vec<&str> = command.split_whitespace().collect();
    let (status, stdout, stderr) = simulate(&words);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let printed = blocks.next().unwrap().strip_prefix("text\n").unwrap();
    assert!(printed == stdout, "docs/simulate.md differs from\n{stdout}");
    let picture: Vec<&str> = words.iter().copied().chain(["--format", "svg"]).collect();
    let (_, picture, _) = simulate(&picture);
    assert_eq!(compare(&root().join("docs/simulate.svg"), &picture), None);
}

/// However much happens, a picture can be sent by mail.
#[test]
fn a_picture_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let pod = "name = \"busy\"\nrestart-backoff = { initial = \"0s\", max = \"0s\" }\n".to_owned()
        + &(0..8)
            .map(|number| {
                format!(
                    "[[containers]]\nname = \"c{number}\"\nrootfs = \"/srv\"\ncommand = [\"/bin/c\"]\n\
                     liveness-probe = {{ tcp-socket = {{ port = 80 }}, period = \"10ms\" }}\n"
                )
            })
            .collect::<String>();
    let path = folder.path().join("busy.toml");
    fs::write(&path, pod).unwrap();
    let path = path.to_str().unwrap();
    let assumed = ["--exit", "c0=1@5ms", "--exit", "c1=0@200ms", "--fail-probe", "c2:liveness@1s"];
    let words: Vec<&str> = assumed.into_iter().chain([path, "--format", "svg"]).collect();
    let (status, picture, stderr) = simulate(&words);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(picture.len() < 400_000, "{} bytes", picture.len());
    assert!(picture.contains("Marks left out"), "{}", &picture[picture.len() - 600..]);
    assert!(picture.contains("cut here"));
}

#[test]
fn a_picture_is_well_formed_and_self_contained() {
    for situation in situations() {
        let picture = show(&situation, "svg");
        for tag in ["svg", "g", "title", "desc", "style", "defs", "pattern", "text", "tspan"] {
            let opened = [" ", ">"].map(|end| picture.matches(&format!("<{tag}{end}")).count());
            let closed = picture.matches(&format!("</{tag}>")).count();
            assert_eq!(opened[0] + opened[1], closed, "{}: <{tag}>", situation.display());
        }
        for foreign in ["<script", "href", "url(h", "@import"] {
            assert!(!picture.contains(foreign), "{}: {foreign}", situation.display());
        }
    }
}
