//! Where Outrigger is not the kubelet: what cannot apply at all, and what is read in another way.
//! Every entry has its reason, and docs/conformance.md lists each case that it concerns.

use serde_json::Value;

use super::case::Case;
use super::pod::containers_of;
use super::text::split_remark;

/// Cases that cannot apply, and how they are recognised.
pub(crate) struct Limit {
    pub name: &'static str,
    pub reason: &'static str,
    concerns: fn(&Case) -> bool,
}

pub(crate) const LIMITS: [Limit; 6] = [
    Limit {
        name: "no-tls",
        reason: "There is no TLS: `https` is refused when the configuration is read.",
        concerns: |case| {
            let mut hooks = containers_of(case.part("pod")).into_iter();
            hooks.any(|it| {
                let https = |key: &str| it.get(key).is_some_and(|hook| hook.to_string().contains("HTTPS"));
                https("postStart") || https("preStop")
            })
        },
    },
    Limit {
        name: "containers-end-with-the-supervisor",
        reason: "Containers are children of their supervisor and end with it; a new one starts them again. So \
                 there is none that runs on unchanged, and nothing of its probes to be kept.",
        concerns: |case| {
            let restarts = case
                .actions
                .iter()
                .any(|action| action == "restart supervisor" || action == "start supervisor");
            // It shows in a main container or sidecar that is to run on.
            let unchanged = |text: &String| {
                let lasting = containers_of(case.part("pod")).into_iter().filter_map(|it| {
                    let is_init = it.get("restartPolicy").is_none()
                        && case.part("pod")["initContainers"].as_array().is_some_and(|all| all.contains(&it));
                    if is_init { None } else { it.get("name")?.as_str().map(str::to_owned) }
                });
                let of_one = lasting.into_iter().any(|name| *text == format!("restartCount({name})=0"));
                of_one || text == "restartCount=0 for all"
            };
            (restarts && case.expected.iter().any(unchanged))
                || case.part("input").get("containerStartedBeforeSupervisorBy").is_some()
        },
    },
    Limit {
        name: "never-begins-anew",
        reason: "A pod under the policy never whose volumes were lost begins anew; the kubelet only stops it, since a \
                 controller would make another one.",
        concerns: |case| {
            let state = case.part("state");
            let lost = state.get("sandbox").is_some_and(|it| it.get("ready") == Some(&Value::Bool(false)));
            let never = case.part("pod").get("restartPolicy") == Some(&"Never".into());
            lost && never && case.expected.iter().any(|text| text == "createSandbox=false")
        },
    },
    Limit {
        name: "names-of-rotated-logs",
        reason: "A rotated log is named `N.log.1` here, so that a name that only the kubelet's rotation gives is none \
                 of ours.",
        concerns: |case| {
            let files =
                case.part("input").get("files").and_then(Value::as_array).cloned().unwrap_or_default();
            let number = |name: &str| name.split(".log").next().and_then(|it| it.parse::<u32>().ok());
            let names = files.iter().filter_map(Value::as_str);
            let highest = names.max_by_key(|name| (number(name), name.ends_with(".log")));
            case.kind == "restart-count"
                && highest.is_some_and(|name| number(name).is_some() && !name.ends_with(".log"))
        },
    },
    Limit {
        name: "one-record",
        reason: "Of each container one record is kept, not one for each instance that the runtime remembers.",
        concerns: |case| case.kind == "sync-sequence" && case.part("state").get("records").is_some(),
    },
    Limit {
        name: "sidecars-end-with-the-supervisor",
        reason: "Containers are children of their supervisor and end with it: a pod whose termination is under way \
                 is not taken up by a new one, which starts it again.",
        concerns: |case| {
            let deleted = case.actions.iter().position(|it| it.starts_with("delete pod"));
            let restarted =
                case.actions.iter().position(|it| it == "start supervisor" || it == "restart supervisor");
            deleted.zip(restarted).is_some_and(|(deleted, restarted)| deleted < restarted)
        },
    },
];

/// Why a case cannot apply, if it cannot.
pub(crate) fn not_applicable(case: &Case) -> Option<&'static str> {
    LIMITS.iter().find(|limit| (limit.concerns)(case)).map(|limit| limit.name)
}

/// What is checked where an expectation is read in another way.
pub(crate) enum Reading {
    /// Nothing.
    LeftOut,
    /// This.
    Instead(String),
}

/// An expectation that is read in another way.
pub(crate) struct Deviation {
    pub name: &'static str,
    pub reason: &'static str,
    reads: fn(&Case, &str) -> Option<Reading>,
}

pub(crate) const DEVIATIONS: [Deviation; 9] = [
    Deviation {
        name: "no-sandbox",
        reason: "A pod has no sandbox that is counted or that could be lost while its supervisor lives: \
                 `sandboxAttempt` and a pass after its loss are left out. A sandbox that is not ready is a pod that is \
                 to be set up (`createSandbox`), and is lost together with its supervisor; what is known is what that \
                 has kept.",
        reads: |case, text| {
            let counted = case.kind == "decision" && text.starts_with("sandboxAttempt=");
            let lost = case.kind == "sync-sequence" && text.contains("(sandbox stopped)");
            let alone = case.actions.iter().any(|it| it == "stop the pod sandbox")
                && !case.actions.iter().any(|it| it == "stop supervisor");
            if alone {
                return Some(Reading::Instead(text.to_owned()));
            }
            (counted || lost).then_some(Reading::LeftOut)
        },
    },
    Deviation {
        name: "images-are-local",
        reason: "Root file systems are on the machine, so nothing is pulled: what is not there is a container that \
                 cannot be created. `ImagePullBackOff` and `ErrImagePull` are read as `CreateContainerError`.",
        reads: |_, text| {
            let reasons = ["ImagePullBackOff", "ErrImagePull"];
            let (left, reason) = text.split_once("=")?;
            (left.starts_with("waitingReason(") && reasons.contains(&reason))
                .then(|| Reading::Instead(format!("{left}=CreateContainerError")))
        },
    },
    Deviation {
        name: "completion-at-once",
        reason: "In the kubelet a pod whose main containers are done is noticed only when its last sidecar is up \
                 again, an artefact of its passes. Ours is stopped at once; the result is the same.",
        reads: |case, text| {
            let waits = text.starts_with("after ") && text.contains(" is waiting in CrashLoopBackOff: ");
            let late = text.contains(" gets SIGTERM only after the next start of ");
            (case.notes.contains("An own implementation may finish at once") && (waits || late))
                .then_some(Reading::LeftOut)
        },
    },
    Deviation {
        name: "refused-when-read",
        reason: "What Kubernetes' API refuses, and only a unit test can bring about (a probe without a handler or \
                 of a regular init container, a port that there cannot be), is refused when the configuration is read.",
        reads: |case, _| {
            let input = case.part("input");
            let words = input.get("case").and_then(Value::as_str).unwrap_or_default();
            let no_handler = words == "no handler";
            let probed_init = words.starts_with("regular init, running, startup pending");
            let no_port =
                input.get("port").and_then(Value::as_i64).is_some_and(|port| !(1..=65535).contains(&port));
            (no_handler || probed_init || no_port)
                .then(|| Reading::Instead("refused when it is read".to_owned()))
        },
    },
    Deviation {
        name: "grace-of-the-pod",
        reason: "A stop request names no grace period; the pod's own holds, and a second request leaves two seconds. \
                 Where a case deletes the pod with another one, the pod has that, and no hook of it sleeps longer.",
        reads: |case, text| {
            let given = case.actions.iter().map(|it| split_remark(it).0);
            let given = given.filter_map(|it| it.strip_prefix("delete pod gracePeriod=")).next();
            let own =
                case.part("pod").get("terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(30);
            let differs = given.is_some_and(|given| given != format!("{own}s"));
            differs.then(|| Reading::Instead(text.to_owned()))
        },
    },
    Deviation {
        name: "redirects-stay",
        reason: "No probe follows a redirect to another host. What upstream's code does where it is told to \
                 (`followNonLocalRedirects=true`), which it is for no probe, is left out.",
        reads: |_, text| text.starts_with("followNonLocalRedirects=true: ").then_some(Reading::LeftOut),
    },
    Deviation {
        name: "unknown-is-no-exit-code",
        reason: "No handler of ours says that it does not know and that nothing went wrong. Nearest to it is a command \
                 that has ended without an exit code, by a signal.",
        reads: |case, text| {
            let words = case.part("input").get("case").and_then(Value::as_str);
            (words == Some("handler Unknown, no error")).then(|| Reading::Instead(text.to_owned()))
        },
    },
    Deviation {
        name: "log-names",
        reason: "Restarts are kept in a file and not read from the names of logs (docs/decisions/0007). Of the names \
                 the newest log of an earlier supervisor is told, so that it is not removed: `restartCount` is the one \
                 behind it.",
        reads: |case, text| (case.kind == "restart-count").then(|| Reading::Instead(text.to_owned())),
    },
    Deviation {
        name: "no-order-of-resets",
        reason: "When all containers of a pod are started anew, they are told to stop at once and together; the kubelet \
                 stops and removes them one after another. Checked is who is stopped; that nothing is started before \
                 all are gone is an invariant of the simulated world.",
        reads: |case, text| {
            (case.kind == "decision" && text.starts_with("removeInOrder="))
                .then(|| Reading::Instead(text.replacen("removeInOrder=", "removed=", 1)))
        },
    },
];

/// How an expectation is read, unless as it stands.
pub(crate) fn reading(case: &Case, text: &str) -> Option<(&'static str, Reading)> {
    DEVIATIONS.iter().find_map(|it| Some((it.name, (it.reads)(case, text)?)))
}
