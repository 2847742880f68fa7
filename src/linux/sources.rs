//! Configuration files as bytes.

use std::fs;
use std::path::{Path, PathBuf};

use super::{reason, regular_file};
use crate::config::Source;
use crate::limits::{FILE_BYTES_MAX, FILES_MAX};

/// Where the machine file is looked for unless another one is named.
pub const MACHINE_FILE: &str = "/etc/outrigger/outrigger.toml";

/// The machine file: the one that was named, else [`MACHINE_FILE`] if it is there.
pub fn read_machine(named: Option<&Path>) -> Result<Option<Source>, String> {
    match named {
        Some(path) => read_file(path).map(Some),
        None => {
            let path = Path::new(MACHINE_FILE);
            if path.exists() { read_file(path).map(Some) } else { Ok(None) }
        }
    }
}

/// What the kernel was told at its start (proc(5), `/proc/cmdline`); nothing where it cannot be read.
pub fn read_kernel_command_line() -> String {
    fs::read_to_string("/proc/cmdline").unwrap_or_default()
}

/// The pod files behind `paths`: files as they are, of directories all `*.toml` directly in
/// them, in the order of their names. All that cannot be read is named in the errors.
pub fn read_pods(paths: &[PathBuf]) -> Result<Vec<Source>, Vec<String>> {
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        let files = if path.is_dir() { list(path) } else { Ok(vec![path.clone()]) };
        match files {
            Ok(files) => {
                for file in files {
                    if sources.len() + errors.len() >= FILES_MAX {
                        errors.push(format!("cannot read more than {FILES_MAX} pod files; name fewer"));
                        return Err(errors);
                    }
                    match read_file(&file) {
                        Ok(source) => sources.push(source),
                        Err(error) => errors.push(error),
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(sources) } else { Err(errors) }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("cannot read directory `{}`: {}", directory.display(), reason(&error));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") && !path.is_dir() {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            break;
        }
    }
    if files.is_empty() {
        return Err(format!(
            "cannot find a pod file in `{}`: it has no file that ends in `.toml`; name another place",
            directory.display()
        ));
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<Source, String> {
    let bytes = regular_file::read(path, FILE_BYTES_MAX)?;
    Ok(Source { name: path.display().to_string(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_too_many_files_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..FILES_MAX + 2 {
            fs::write(directory.path().join(format!("{number}.toml")), "").unwrap();
        }
        let errors = read_pods(&[directory.path().to_owned()]).unwrap_err();
        assert_eq!(errors, ["cannot read more than 256 pod files; name fewer"]);
        for number in FILES_MAX..FILES_MAX + 2 {
            fs::remove_file(directory.path().join(format!("{number}.toml"))).unwrap();
        }
        assert_eq!(read_pods(&[directory.path().to_owned()]).unwrap().len(), FILES_MAX);
    }
}
