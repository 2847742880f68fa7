//! Reading what a container leaves as its last words.

use super::plan::{Image, TerminationMessage, TerminationMessagePolicy};
use super::problem::{ProblemList, quote};
use super::reader::Table;

/// Where a container writes its message unless it says otherwise (the path of Kubernetes).
const DEFAULT_PATH: &str = "/dev/termination-log";

pub(super) fn read_termination_message(
    table: &mut Table<'_>,
    image: &Image,
    problems: &mut ProblemList<'_>,
) -> TerminationMessage {
    let policies = [
        ("file", TerminationMessagePolicy::File),
        ("fallback-to-logs-on-error", TerminationMessagePolicy::FallbackToLogsOnError),
    ];
    let policy = table.take("termination-message-policy").and_then(|field| field.choice(&policies, problems));
    let field = table.take("termination-message-path");
    let path = match (image, field) {
        (Image::HostProcess(_), Some(field)) => {
            let help = "a host process sees the files of the host; with termination-message-policy = \
                        \"fallback-to-logs-on-error\" its last lines are its message";
            field.refuse(
                problems,
                "is not possible beside `host-process`",
                "there is no file of its own",
                help,
            );
            None
        }
        (Image::HostProcess(_) | Image::Bundle(_), None) => None,
        (Image::Rootfs(rootfs), None) => {
            let taken = rootfs.mounts.iter().any(|mount| mount.path == DEFAULT_PATH);
            (!taken).then(|| DEFAULT_PATH.to_owned())
        }
        (Image::Rootfs(_) | Image::Bundle(_), Some(field)) => {
            let path = field.container_path(problems);
            if path.as_deref() == Some("/") {
                let help = "it is a file: \"/dev/termination-log\"";
                field.refuse(problems, "must not be the root", "not a place for a file", help);
            }
            let mounts = if let Image::Rootfs(rootfs) = image { rootfs.mounts.as_slice() } else { &[] };
            if let Some(mount) = mounts.iter().find(|mount| Some(&mount.path) == path.as_ref()) {
                let says = format!("is that of a mount, {}", quote(&mount.path));
                let help = "a file below the mount is possible, and so is any other place";
                field.refuse(problems, &says, "one of them would hide the other", help);
            }
            path
        }
    };
    TerminationMessage { path, policy: policy.unwrap_or_default() }
}
