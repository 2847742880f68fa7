//! Files that say what is expected, and how they are made: `UPDATE_EXPECTED=1`.

use std::fs;
use std::path::Path;

/// Compares with the file, or writes it if that is asked for. Gives what is wrong.
pub(crate) fn compare(expected: &Path, actual: &str) -> Option<String> {
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(expected, actual).unwrap();
        return None;
    }
    match fs::read_to_string(expected) {
        Err(error) => Some(format!("cannot read {}: {error}", expected.display())),
        Ok(text) if text != actual => {
            Some(format!("{} differs.\n--- expected\n{text}\n--- actual\n{actual}", expected.display()))
        }
        Ok(_) => None,
    }
}
