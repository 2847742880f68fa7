//! Cases as they are written, see README.md.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One case, whatever its kind.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub id: String,
    pub kind: String,
    pub title: String,
    pub source: String,
    pub notes: String,
    pub expected: Vec<String>,
    pub actions: Vec<String>,
    /// All of it: `pod`, `state`, `input`, `config`, `options`.
    pub body: Value,
    /// What is wrong with the way in which it is written.
    pub broken: Option<String>,
}

impl Case {
    fn new(file: &Path, nth: usize, body: &Value) -> Case {
        let mut broken = None;
        let mut text = |key: &str, required: bool| match body.get(key) {
            Some(Value::String(text)) => text.clone(),
            None if !required => String::new(),
            _ => {
                broken = Some(format!("`{key}` is not a text"));
                String::new()
            }
        };
        let (mut id, kind) = (text("id", true), text("kind", true));
        let (title, source, notes) = (text("title", false), text("source", false), text("notes", false));
        let mut list = |key: &str| match body.get(key) {
            None => Vec::new(),
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
                all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(_) => {
                broken = Some(format!("`{key}` is not a list of texts"));
                Vec::new()
            }
        };
        let (expected, actions) = (list("expected"), list("actions"));
        if expected.is_empty() && broken.is_none() {
            broken = Some("it expects nothing".to_owned());
        }
        if id.is_empty() {
            id = format!("{}: case {nth}", file.display());
        }
        Case { id, kind, title, source, notes, expected, actions, body: body.clone(), broken }
    }

    /// A part of the body; null where there is none.
    pub(crate) fn part(&self, key: &str) -> &Value {
        self.body.get(key).unwrap_or(&Value::Null)
    }
}

/// All cases of the `*.json` files of a folder, by the names of the files. A file that cannot be read
/// is a broken case, so that it is not overlooked.
pub(crate) fn read_folder(folder: &Path) -> Vec<Case> {
    let mut files: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(error) => panic!("cannot read {}: {error}", folder.display()),
    };
    files.retain(|path| path.extension().is_some_and(|it| it == "json"));
    files.sort();
    let cases: Vec<Case> = files.iter().flat_map(|file| read_file(file)).collect();
    assert!(!cases.is_empty(), "there is no case in {}", folder.display());
    cases
}

fn read_file(file: &Path) -> Vec<Case> {
    let parsed = fs::read(file)
        .map_err(|error| error.to_string())
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(|error| error.to_string()));
    let broken = |why: String| Case { broken: Some(why), ..Case::new(file, 0, &Value::Null) };
    let document = match parsed {
        Ok(document) => document,
        Err(error) => return vec![broken(error)],
    };
    if document.get("schemaVersion").is_some_and(|version| version != 1) {
        return vec![broken("its schemaVersion is not 1".to_owned())];
    }
    let list = document.as_array().or_else(|| document.get("cases").and_then(Value::as_array));
    match list {
        Some(list) => list.iter().enumerate().map(|(nth, body)| Case::new(file, nth, body)).collect(),
        None => vec![broken("it is neither a list of cases nor has one as `cases`".to_owned())],
    }
}
