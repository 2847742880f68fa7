//! Files that somebody else has written, read without being held up by them.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use super::reason;

/// What is in the file at `path`: at most `bytes_max` bytes and one more, so that it shows when
/// there is more.
///
/// Not a pipe, which could keep us waiting (open(2) of a FIFO waits for a writer, and so does
/// read(2)), and not a device, which may never end.
pub fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let failed = |reason: &str| format!("cannot read `{}`: {reason}", path.display());
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let file = options.open(path).map_err(|error| failed(&reason(&error)))?;
    let meta = file.metadata().map_err(|error| failed(&reason(&error)))?;
    if !meta.is_file() {
        return Err(failed("it is no regular file"));
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(|error| failed(&reason(&error)))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_or_device_does_not_hold_us_up() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero"), directory.path()] {
            let error = read(path, 10).unwrap_err();
            assert_eq!(error, format!("cannot read `{}`: it is no regular file", path.display()));
        }
    }

    #[test]
    fn one_byte_too_many_shows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path, 10).unwrap().len(), 10);
        assert_eq!(read(&path, 5).unwrap().len(), 6);
    }
}
