//! Every bound of the program, with its reason and its relation to the others. What goes beyond
//! a bound is refused when the configuration is loaded, or counted as lost, never grown into.

use core::time::Duration;

/// Pods in one plan. An edge gateway runs one to twenty; a pod's index is a `u8`.
pub const PODS_MAX: usize = 64;

/// Containers in one plan, of all pods together. One decision looks at each record once, so this
/// bounds the time of a turn of the loop.
pub const CONTAINERS_MAX: usize = 256;

/// Containers of one pod, init containers included.
pub const POD_CONTAINERS_MAX: usize = 64;

/// Volumes of one pod, and mounts, devices or capabilities of one container.
pub const LIST_MAX: usize = 64;

/// Restarts within a window that an escalation may allow: a time is kept for each, and one more.
pub const ESCALATION_RESTARTS_MAX: usize = 32;

/// Restart policy rules of one container (Kubernetes: 20).
pub const RESTART_RULES_MAX: usize = 20;

/// Exit codes in one of them (Kubernetes: 255).
pub const EXIT_CODES_MAX: usize = 255;

/// Arguments of one command, and variables of one environment.
pub const WORDS_MAX: usize = 256;

/// Characters of a name (RFC 1123 label, as in Kubernetes): it becomes a directory, a cgroup, a
/// host name and part of a runtime's container id.
pub const NAME_MAX: usize = 63;

/// Bytes of one configuration file, or of a bundle's `config.json`. The largest sensible ones
/// have some ten kilobytes; what is read from it takes many times its size in memory.
pub const FILE_BYTES_MAX: usize = 256 * 1024;

/// Pod files that are read together: so many that of too many pods all are named, and so few that
/// a wrong directory does not fill the memory.
pub const FILES_MAX: usize = 4 * PODS_MAX;

/// Bytes of a container's command, arguments and environment together, after `$(NAME)` was
/// replaced: the kernel takes no more of one string (execve(2), `MAX_ARG_STRLEN`), and variables
/// that double each other would know no end.
pub const EXPANDED_BYTES_MAX: usize = 128 * 1024;

/// Longest duration that a configuration may name: 10 years. Far beyond any use, and far from
/// the end of the clock, so that adding two of them cannot overflow.
pub const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Shortest period of a probe. Below it the probe itself is the load.
pub const PROBE_PERIOD_MIN: Duration = Duration::from_millis(10);

/// Least time between the stop signal and SIGKILL (Kubernetes rule: two seconds, whatever is
/// left of the grace period).
pub const GRACE_MIN: Duration = Duration::from_secs(2);

/// How long a hook may take that is not ended by a grace period. Kubernetes has no such bound; one day
/// is more than any post-start hook means to take, and a hook that hangs is a failure some time.
pub const HOOK_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// What is reported but not yet written down. Past it reports are counted as lost: one wake-up
/// cannot usefully say more than one line about every container and pod.
pub const REPORTS_MAX: usize = 512;

/// Bytes kept of what went wrong (an error, the last words of a failed runtime) per container.
pub const FAILURE_BYTES_MAX: usize = 400;

/// Bytes kept of what a container said last in answer to each of its probes: a line, for a status.
pub const PROBE_SAID_BYTES_MAX: usize = 256;
/// Bytes kept of one termination message (kubelet: the same).
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Bytes kept of the termination messages of a pod: each container has its part (kubelet: the
/// same).
pub const POD_MESSAGE_BYTES_MAX: usize = 12 * 1024;

/// Lines and bytes of the end of a log that can stand for a termination message (kubelet: the
/// same).
pub const LAST_LINES_MAX: usize = 80;
/// See [`LAST_LINES_MAX`].
pub const LAST_LINES_BYTES_MAX: usize = 2048;

/// Bytes kept of the output of one runtime call, as the kubelet keeps of a probe.
pub const CALL_OUTPUT_BYTES_MAX: usize = 10 * 1024;

/// Log streams open at the same time: the supervisor's own, and two of every container; twice,
/// since the streams of the instance before may still hold what the log writer has not read.
pub const STREAMS_MAX: usize = 1 + 2 * 2 * CONTAINERS_MAX;

const _: () = assert!(PODS_MAX <= u8::MAX as usize + 1, "a pod's index must fit its type");
const _: () = assert!(CONTAINERS_MAX <= u16::MAX as usize, "a container's index must fit its type");
const _: () = assert!(POD_CONTAINERS_MAX <= CONTAINERS_MAX, "one pod must fit into the plan");
const _: () = assert!(REPORTS_MAX >= CONTAINERS_MAX + PODS_MAX, "a full shutdown must be reportable");
const _: () = assert!(STREAMS_MAX <= u16::MAX as usize, "a stream's id must fit its type");
