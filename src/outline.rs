//! What `outrigger check` prints about a good configuration: who starts when and waits for what,
//! who stops when, and what everybody may use. Pure: plan to text.

use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;

use crate::config::plan::{
    Check, Container, Hook, Image, OnFailure, Operator, Plan, Pod, Probe, Resources, RestartAction,
    RestartPolicy, RestartRule, Role,
};
use crate::config::signal::StopSignal;
use crate::config::{admission, write_cpu, write_duration, write_memory};
use crate::limits::GRACE_MIN;
use crate::supervisor::policy::Policy;

/// Describes every pod in start order, then the order of the pods if there is more than one.
///
/// Ends with a line break. The same plan gives the same text.
pub fn outline(plan: &Plan) -> String {
    // Writing to a String cannot fail, here and below.
    let mut out = String::new();
    for pod in &plan.pods {
        let containers = plan.containers.get(pod.containers()).unwrap_or_default();
        write_pod(&mut out, plan, pod, containers);
        out.push('\n');
    }
    if plan.pods.len() > 1 {
        write_pods_order(&mut out, plan);
    } else {
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    write_requests(&mut out, plan);
    out
}

/// What of the machine is spoken for, as far as it is known what it has.
fn write_requests(out: &mut String, plan: &Plan) {
    let (requested, left) = (admission::requested(plan), plan.capacity.without(plan.machine.reserved));
    let part = |name: &str, requested: Option<u64>, left: Option<u64>, write: fn(u64) -> String| {
        Some(format!("{} of {} {name}", write(requested.unwrap_or(0)), write(left?)))
    };
    let parts: Vec<String> = [
        part("memory", requested.memory, left.memory, write_memory),
        part("cpu", requested.cpu_millis, left.cpu_millis, write_cpu),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !parts.is_empty() {
        let _ = writeln!(out, "requested by all pods: {}", parts.join(", "));
    }
}

fn write_pod(out: &mut String, plan: &Plan, pod: &Pod, containers: &[Container]) {
    let _ = writeln!(out, "pod {}", pod.name);
    if !pod.after.is_empty() {
        let _ = writeln!(out, "  waits for: {} (ready or succeeded)", names_after(plan, pod));
    }
    let _ = writeln!(out, "  start order");
    write_numbered(out, &start_stages(pod, containers));
    let _ = writeln!(out, "  stop order");
    write_numbered(out, &stop_stages(containers));
    let _ = writeln!(
        out,
        "    SIGKILL after {} in all, at least {} after the stop signal",
        write_duration(pod.termination_grace_period),
        write_duration(GRACE_MIN)
    );
    if pod.restart_sidecars_during_termination && stop_stages(containers).len() > 1 {
        let _ = writeln!(out, "    a sidecar that ends before its turn is started again");
    }
    write_probes(out, containers);
    write_restarts(out, pod, containers);
    if let Some(deadline) = pod.active_deadline {
        let _ = writeln!(out, "  fails if it is still up after {}", write_duration(deadline));
    }
    if pod.essential {
        let failed = match pod.on_failure {
            OnFailure::Nothing => "it stays failed",
            OnFailure::Restart => "it is started anew, with the same pauses",
            OnFailure::Reboot => "all pods are stopped and the machine is rebooted",
            OnFailure::Rescue => "all pods are stopped for a rescue shell",
        };
        if let Some(escalation) = pod.escalation {
            let window = write_duration(escalation.window);
            if let Some(most) = escalation.container_restarts {
                let _ = writeln!(
                    out,
                    "  essential: more than {most} restarts of its containers within {window}, and it has failed"
                );
            }
            if let Some(most) = escalation.pod_restarts {
                let _ = writeln!(
                    out,
                    "  essential: when it has failed, it is started anew up to {most} times within {window}"
                );
            }
        }
        let _ = writeln!(out, "  essential: when it has failed for good, {failed}");
    }
    write_resources(out, pod, containers);
}

/// What happens at one time: each container and what is said about it.
type Stage<'p> = Vec<(&'p str, String)>;

fn start_stages<'p>(pod: &Pod, containers: &'p [Container]) -> Vec<Stage<'p>> {
    let mut stages: Vec<Stage<'p>> = Vec::new();
    let mut mains: Stage<'p> = Vec::new();
    for container in containers {
        let name = container.name.as_str();
        let part = describe_part(container);
        match container.role {
            Role::Init => {
                let failed = match Policy::of(pod, container).effective() {
                    RestartPolicy::Always | RestartPolicy::OnFailure => "started again until then",
                    RestartPolicy::Never => "else the pod has failed",
                };
                stages.push(vec![(name, format!("{part}, must end with exit code 0, {failed}"))]);
            }
            Role::Sidecar => {
                let hook = container.hooks.post_start.as_ref().map(describe_hook);
                let wait = match (&container.probes.startup, hook) {
                    (None, None) => "next waits until it runs".to_owned(),
                    (None, Some(hook)) => format!("next waits for its post-start hook: {hook}"),
                    (Some(probe), None) => {
                        format!(
                            "next waits for its startup probe: {}{}",
                            describe_startup(probe),
                            describe_grace(probe)
                        )
                    }
                    (Some(probe), Some(hook)) => format!(
                        "next waits for its post-start hook: {hook}; then for its startup probe: {}{}",
                        describe_startup(probe),
                        describe_grace(probe)
                    ),
                };
                stages.push(vec![(name, format!("{part}, {wait}"))]);
            }
            Role::Main => match &container.hooks.post_start {
                Some(hook) => {
                    let next = if is_last_main(containers, container) { "" } else { ", next waits for it" };
                    mains.push((name, format!("{part}, post-start hook: {}{next}", describe_hook(hook))));
                }
                None => mains.push((name, part)),
            },
        }
    }
    let waits = |container: &Container| container.role == Role::Main && container.hooks.post_start.is_some();
    if mains.len() > 1 && !containers.iter().any(waits) {
        for (_, text) in &mut mains {
            text.push_str(", all of them together");
        }
    }
    stages.push(mains);
    stages
}

/// Its part in the lifecycle, and whether it is what its name says: in a container.
fn describe_part(container: &Container) -> String {
    let part = match container.role {
        Role::Init => "init container",
        Role::Sidecar => "sidecar",
        Role::Main => "main container",
    };
    match container.image {
        Image::HostProcess(_) => format!("{part} (host process)"),
        Image::Bundle(_) | Image::Rootfs(_) => part.to_owned(),
    }
}

fn stop_stages(containers: &[Container]) -> Vec<Stage<'_>> {
    let mut mains: Stage<'_> = Vec::new();
    let mut sidecars: Vec<Stage<'_>> = Vec::new();
    for container in containers {
        match container.role {
            // Has ended long before, or is stopped at once with the main containers.
            Role::Init => {}
            Role::Main => mains.push((&container.name, describe_stop("main container", container))),
            Role::Sidecar => sidecars.push(vec![(&container.name, describe_stop("sidecar", container))]),
        }
    }
    sidecars.push(mains);
    sidecars.reverse();
    sidecars
}

/// What is not as it is for every container.
fn describe_stop(part: &str, container: &Container) -> String {
    let mut text = part.to_owned();
    if let Some(hook) = &container.hooks.pre_stop {
        let when = match container.role {
            Role::Sidecar => " at once",
            Role::Init | Role::Main => "",
        };
        let _ = write!(text, ", pre-stop hook{when}: {}", describe_hook(hook));
    }
    if container.stop_signal != StopSignal::SIGTERM {
        let _ = write!(text, ", {}", container.stop_signal.name());
    }
    if let Some(grace) = container.termination_grace_period {
        let _ = write!(text, ", SIGKILL after {}", write_duration(grace.max(GRACE_MIN)));
    }
    text
}

fn describe_hook(hook: &Hook) -> String {
    match hook {
        Hook::Ask(check) => describe_check(check),
        Hook::Sleep(time) => format!("sleep {}", write_duration(*time)),
    }
}

fn is_last_main(containers: &[Container], container: &Container) -> bool {
    containers.last().is_some_and(|last| last.name == container.name)
}

fn write_numbered(out: &mut String, stages: &[Stage<'_>]) {
    let width = stages.iter().flatten().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (number, stage) in stages.iter().enumerate() {
        for (name, text) in stage {
            let line = format!("    {:>2}  {name:width$}  {text}", number + 1);
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

/// Liveness and readiness; startup probes stand in the start order, except those of main
/// containers, for which nothing waits there.
fn write_probes(out: &mut String, containers: &[Container]) {
    let mut lines: Vec<(&str, &str, String)> = Vec::new();
    for container in containers {
        let name = container.name.as_str();
        let probes = &container.probes;
        if let (Role::Main, Some(probe)) = (container.role, &probes.startup) {
            let grace = describe_grace(probe);
            lines.push((name, "startup", format!("{}, else restarted{grace}", describe_startup(probe))));
        }
        if let Some(probe) = &probes.liveness {
            let failures = times(probe.failure_threshold);
            lines.push((
                name,
                "liveness",
                format!(
                    "{}, restarted after {failures} without success{}",
                    describe(probe),
                    describe_grace(probe)
                ),
            ));
        }
        if let Some(probe) = &probes.readiness {
            let text = format!(
                "{}, ready after {} with success, unready after {} without",
                describe(probe),
                times(probe.success_threshold),
                times(probe.failure_threshold)
            );
            lines.push((name, "readiness", text));
        }
    }
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "  probes");
    let width = lines.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    for (name, kind, text) in lines {
        let _ = writeln!(out, "    {name:width$}  {kind:9}  {text}");
    }
}

fn describe_startup(probe: &Probe) -> String {
    format!("{}, up to {}", describe(probe), times(probe.failure_threshold))
}

fn describe(probe: &Probe) -> String {
    let mut text = describe_check(&probe.check);
    let _ = write!(text, " every {}", write_duration(probe.period));
    if probe.timeout != DEFAULT_TIMEOUT {
        let _ = write!(text, " within {}", write_duration(probe.timeout));
    }
    if !probe.initial_delay.is_zero() {
        let _ = write!(text, " from {} on", write_duration(probe.initial_delay));
    }
    text
}

fn describe_grace(probe: &Probe) -> String {
    match probe.termination_grace_period {
        Some(grace) => format!(", SIGKILL after {}", write_duration(grace.max(GRACE_MIN))),
        None => String::new(),
    }
}

fn describe_check(check: &Check) -> String {
    match check {
        Check::Exec { command } => format!("exec {}", quote_words(command)),
        Check::HttpGet { host, port, path, .. } => {
            format!("GET http://{}{path}", SocketAddr::new(*host, *port))
        }
        Check::TcpSocket { host, port } => format!("connect to {}", SocketAddr::new(*host, *port)),
        Check::Grpc { port, service } if service.is_empty() => format!("gRPC health on port {port}"),
        Check::Grpc { port, service } => {
            format!("gRPC health of {} on port {port}", quote_words(core::slice::from_ref(service)))
        }
        Check::Unix { path, http_path } => {
            let path = quote_words(core::slice::from_ref(path));
            match http_path {
                Some(http_path) => format!("GET {http_path} over {path}"),
                None => format!("connect to {path}"),
            }
        }
    }
}

/// What nobody needs to be told about a probe: Kubernetes' default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

fn times(count: u32) -> String {
    if count == 1 { "1 time".to_owned() } else { format!("{count} times") }
}

/// Words as a shell would take them, so that they can be tried by hand. Control characters are
/// escaped, because this goes to a terminal.
fn quote_words(words: &[String]) -> String {
    let mut quoted: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&byte);
        if !word.is_empty() && word.bytes().all(plain) {
            quoted.push(word.clone());
        } else if word.chars().any(char::is_control) {
            quoted.push(format!("$'{}'", word.escape_default()));
        } else {
            quoted.push(format!("'{}'", word.replace('\'', "'\\''")));
        }
    }
    quoted.join(" ")
}

fn write_restarts(out: &mut String, pod: &Pod, containers: &[Container]) {
    let policy = match pod.restart_policy {
        RestartPolicy::Never => "never (sidecars always)",
        RestartPolicy::Always | RestartPolicy::OnFailure => policy_name(pod.restart_policy),
    };
    let backoff = &pod.restart_backoff;
    let pauses = if backoff.initial.is_zero() {
        "without a pause".to_owned()
    } else {
        format!(
            "at once, then after {}, doubling up to {}; anew after {} of running",
            write_duration(backoff.initial),
            write_duration(backoff.max),
            write_duration(backoff.reset)
        )
    };
    let pauses = match backoff.jitter {
        0 => pauses,
        // In thousandths.
        jitter if jitter % 10 == 0 => format!("{pauses}; each up to {} % longer by chance", jitter / 10),
        jitter => format!("{pauses}; each up to {}.{} % longer by chance", jitter / 10, jitter % 10),
    };
    let _ = writeln!(out, "  restarts: {policy}, {pauses}");
    let own = containers.iter().filter(|container| {
        let own_policy = container.role != Role::Sidecar && container.restart_policy.is_some();
        own_policy || !container.restart_policy_rules.is_empty()
    });
    let own: Vec<&Container> = own.collect();
    let width = own.iter().map(|container| container.name.len()).max().unwrap_or(0);
    for container in own {
        let mut text = String::new();
        for rule in &container.restart_policy_rules {
            let _ = write!(text, "{}; ", describe_rule(rule));
        }
        let otherwise = if text.is_empty() { "" } else { "else " };
        let policy = policy_name(Policy::of(pod, container).effective());
        let _ = writeln!(out, "    {:width$}  {text}{otherwise}{policy}", container.name);
    }
}

fn policy_name(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on failure",
        RestartPolicy::Never => "never",
    }
}

fn describe_rule(rule: &RestartRule) -> String {
    let values: Vec<String> = rule.values.iter().map(u8::to_string).collect();
    let codes = match (rule.operator, values.is_empty()) {
        (Operator::In, true) => "on no exit code".to_owned(),
        (Operator::In, false) => format!("on exit code {}", values.join(", ")),
        (Operator::NotIn, true) => "on any exit code".to_owned(),
        (Operator::NotIn, false) => format!("on any exit code but {}", values.join(", ")),
    };
    match rule.action {
        RestartAction::Restart => codes,
        RestartAction::RestartAllContainers => format!("{codes} all containers of the pod"),
    }
}

/// A table with one line a container and one for the pod.
fn write_resources(out: &mut String, pod: &Pod, containers: &[Container]) {
    let nothing = Resources::default();
    if pod.resources == nothing && containers.iter().all(|container| container.resources == nothing) {
        let _ = writeln!(out, "  resources: nothing requested, no limits");
        return;
    }
    let amount = |amount: Option<u64>, write: fn(u64) -> String| amount.map_or_else(|| "-".to_owned(), write);
    let row = |name: &str, resources: &Resources| {
        [
            name.to_owned(),
            amount(resources.requests.memory, write_memory),
            amount(resources.limits.memory, write_memory),
            amount(resources.requests.cpu_millis, write_cpu),
            amount(resources.limits.cpu_millis, write_cpu),
            amount(resources.limits.pids, |pids| pids.to_string()),
        ]
    };
    let overhead = Resources { requests: pod.overhead, ..nothing };
    let overhead = (overhead != nothing).then_some(overhead);
    let mut rows = vec![["request", "limit", "request", "limit", "limit"].map(str::to_owned)];
    let mut names = vec![String::new()];
    for (name, resources) in containers
        .iter()
        .map(|container| (container.name.as_str(), &container.resources))
        .chain(overhead.as_ref().map(|overhead| ("(overhead)", overhead)))
        .chain([("(the pod)", &pod.resources)])
    {
        let [name, cells @ ..] = row(name, resources);
        names.push(name);
        rows.push(cells);
    }
    let name_width = names.iter().map(String::len).max().unwrap_or(0);
    let width = rows.iter().flatten().map(String::len).max().unwrap_or(0);
    let _ = writeln!(out, "  resources");
    let two = width * 2 + 2;
    let _ = writeln!(out, "    {:name_width$}  {:>two$}  {:>two$}  {:>width$}", "", "memory", "cpu", "pids");
    for (name, cells) in names.iter().zip(&rows) {
        let _ = write!(out, "    {name:name_width$}");
        for cell in cells {
            let _ = write!(out, "  {cell:>width$}");
        }
        out.push('\n');
    }
}

/// Pods in stages: each stage begins when what its pods wait for stands.
fn write_pods_order(out: &mut String, plan: &Plan) {
    let mut stage_of: Vec<usize> = Vec::with_capacity(plan.pods.len());
    let mut stages: Vec<Stage<'_>> = Vec::new();
    for pod in &plan.pods {
        let stage = pod.after.iter().filter_map(|id| stage_of.get(id.index())).map(|stage| stage + 1).max();
        let stage = stage.unwrap_or(0);
        stage_of.push(stage);
        let text =
            if pod.after.is_empty() { String::new() } else { format!("after {}", names_after(plan, pod)) };
        match stages.get_mut(stage) {
            Some(pods) => pods.push((&pod.name, text)),
            None => stages.push(vec![(&pod.name, text)]),
        }
    }
    let _ = writeln!(out, "pods, start order");
    write_numbered(out, &stages);
    stages.reverse();
    let names = |pods: &Stage<'_>| pods.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let _ = writeln!(out, "pods, stop order");
    for (number, pods) in stages.iter().enumerate() {
        let _ = writeln!(out, "    {:>2}  {}", number + 1, names(pods));
    }
}

fn names_after(plan: &Plan, pod: &Pod) -> String {
    let names = pod.after.iter().filter_map(|id| plan.pods.get(id.index())).map(|pod| pod.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}
