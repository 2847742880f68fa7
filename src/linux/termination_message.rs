//! The files that containers write their last words to: one each, of our making, mounted into the
//! container.
//!
//! They lie on a tmpfs of the pod's own that is as small as they are: a container that writes on
//! and on fills that, and neither `/run` nor the memory.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::Host;
use super::container::Place;
use super::regular_file;
use super::state_directory::{describe, make_directory};
use super::volumes::unmount;
use crate::config::plan::{Container, Pod};
use crate::limits::{MESSAGE_BYTES_MAX, POD_MESSAGE_BYTES_MAX};
use crate::supervisor::event::ContainerEvent;

/// Makes the place for the files of a pod's containers, if any of them has one. `pod` is the
/// pod's directory.
pub(super) fn make(containers: &[Container], pod: &Path) -> Result<(), String> {
    let count = containers.iter().filter(|container| container.termination_message.path.is_some()).count();
    if count == 0 {
        return Ok(());
    }
    let path = place(pod);
    unmount(&path)?;
    make_directory(&path)?;
    // Pages: one for what is read of each, and one for what is too long.
    let options = format!("mode=0755,nr_blocks={},nr_inodes={}", 2 * count, 2 * count + 1);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), &path, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|errno| describe("mount", &path, &errno.into()))
}

/// Removes it.
pub(super) fn remove(pod: &Path) -> Result<(), String> {
    unmount(&place(pod))
}

fn place(pod: &Path) -> PathBuf {
    pod.join("messages")
}

impl Host {
    /// An empty file for the instance that is about to be created; `None` if it has none. What a
    /// former instance still holds open is another file.
    pub(super) fn make_message_file(&self, at: &Place<'_>) -> Result<Option<PathBuf>, String> {
        if at.container.termination_message.path.is_none() {
            return Ok(None);
        }
        let path = self.message_file(at);
        let failed = |error| describe("make", &path, &error);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o666).open(&path).map_err(failed)?;
        // Whatever our umask is: the container may be any user.
        file.set_permissions(Permissions::from_mode(0o666)).map_err(failed)?;
        Ok(Some(path))
    }

    /// Tells what the container has written, if anything. Before its end is told.
    pub(super) fn tell_message(&mut self, at: &Place<'_>) {
        if at.container.termination_message.path.is_none() {
            return;
        }
        // Without its file, or when that cannot be read, it has left no message.
        let Ok(bytes) = regular_file::read(&self.message_file(at), MESSAGE_BYTES_MAX) else { return };
        let message = beginning(&bytes, bytes_max(at.pod));
        if !message.is_empty() {
            self.tell(at.id, ContainerEvent::TerminationMessage(message));
        }
    }

    fn message_file(&self, at: &Place<'_>) -> PathBuf {
        place(&self.state.pod(&at.pod.name)).join(&at.container.name)
    }
}

/// The part of a container in what is kept of its pod's messages.
fn bytes_max(pod: &Pod) -> usize {
    MESSAGE_BYTES_MAX.min(POD_MESSAGE_BYTES_MAX / pod.containers().len().max(1))
}

/// The end of a container's output as its message.
pub(super) fn last_lines(lines: &[u8], pod: &Pod) -> Box<str> {
    end(lines, bytes_max(pod))
}

/// What was written, as text of at most `most` bytes: what is no UTF-8 is replaced, which makes it
/// longer, and so before it is cut.
fn beginning(bytes: &[u8], most: usize) -> Box<str> {
    let text = String::from_utf8_lossy(bytes);
    let cut = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..cut.unwrap_or_default()).unwrap_or_default().into()
}

/// The same, with its end kept.
fn end(bytes: &[u8], most: usize) -> Box<str> {
    let text = String::from_utf8_lossy(bytes);
    let cut = (text.len().saturating_sub(most)..=text.len()).find(|at| text.is_char_boundary(*at));
    text.get(cut.unwrap_or_default()..).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_counts_as_what_it_has_become() {
        // Each becomes three bytes.
        let broken = [0xff; 10];
        assert_eq!(&*beginning(&broken, 10), "\u{fffd}".repeat(3));
        assert_eq!(&*end(&broken, 10), "\u{fffd}".repeat(3));
        assert_eq!(beginning(&broken, 30).len(), 30);
        assert_eq!(end(&broken, 30).len(), 30);
    }

    #[test]
    fn it_is_cut_between_characters() {
        let text = "aäöüz".as_bytes();
        for (most, first, last) in [
            (0, "", ""),
            (1, "a", "z"),
            (2, "a", "z"),
            (3, "aä", "üz"),
            (7, "aäöü", "äöüz"),
            (8, "aäöüz", "aäöüz"),
            (100, "aäöüz", "aäöüz"),
        ] {
            assert_eq!((&*beginning(text, most), &*end(text, most)), (first, last), "{most}");
        }
        // A character that was read in part only is none of the message.
        assert_eq!(&*beginning(&text[..2], 1), "a");
    }
}
