//! What must hold between the files: unique names, pods that wait for pods, capacities. And the
//! plan, once it does.

use toml::Spanned;

use super::nearest::nearest;
use super::plan::{Capacity, ContainerId, Machine, Plan, PodId};
use super::pod::PodFile;
use super::problem::{Place, ProblemList, quote};
use crate::limits::{CONTAINERS_MAX, PODS_MAX};

/// Says what is wrong between the files.
///
/// `all_readable`: whether every file was. Else a pod that is waited for may be in the one that
/// was not, and nothing is said about it. Returns whether pods and names fit together, so that
/// what they make up as a whole can be looked at.
pub(super) fn check_pods(pods: &[PodFile], all_readable: bool, problems: &mut ProblemList<'_>) -> bool {
    check_counts(pods, problems);
    let unique = check_unique(pods, problems);
    let complete = all_readable && pods.iter().all(|pod| pod.name.is_some());
    let mut no_self = true;
    for pod in pods {
        problems.begin_file(pod.file);
        for wanted in &pod.after {
            if Some(wanted) == pod.name.as_ref() {
                no_self = false;
                let message = format!("pod {} waits for itself", quote(wanted.get_ref()));
                problems.add(&wanted.span(), message, "would never start", "remove it from `after`");
            } else if complete && find(pods, wanted).is_none() {
                add_unknown(pods, pod, wanted, problems);
            }
        }
    }
    // With two pods of one name a ring may be a mistake of the name.
    if unique && no_self && pods.len() <= PODS_MAX {
        check_rings(pods, problems);
    }
    unique && all_readable
}

fn find(pods: &[PodFile], wanted: &Spanned<String>) -> Option<usize> {
    pods.iter().position(|pod| pod.name.as_ref() == Some(wanted))
}

fn check_counts(pods: &[PodFile], problems: &mut ProblemList<'_>) {
    if let Some(pod) = pods.get(PODS_MAX) {
        problems.begin_file(pod.file);
        let at = pod.name.as_ref().map_or(0..0, Spanned::span);
        let help = format!("at most {PODS_MAX} pods are possible on one machine");
        problems.add(&at, format!("there are {} pods", pods.len()), "the first one too many", &help);
    }
    let mut count = 0;
    for pod in pods {
        let before = count;
        count += pod.containers.len();
        if before <= CONTAINERS_MAX && count > CONTAINERS_MAX {
            problems.begin_file(pod.file);
            let at = pod.name.as_ref().map_or(0..0, Spanned::span);
            let all: usize = pods.iter().map(|pod| pod.containers.len()).sum();
            let help = format!("at most {CONTAINERS_MAX} containers are possible on one machine");
            problems.add(
                &at,
                format!("there are {all} containers in all pods"),
                "too many from this pod on",
                &help,
            );
        }
    }
}

fn check_unique(pods: &[PodFile], problems: &mut ProblemList<'_>) -> bool {
    let mut unique = true;
    for (position, pod) in pods.iter().enumerate() {
        let Some(name) = &pod.name else { continue };
        let Some(first) = pods.iter().take(position).find(|first| first.name.as_ref() == Some(name)) else {
            continue;
        };
        unique = false;
        problems.begin_file(pod.file);
        let at = first.name.as_ref().map_or(0..0, Spanned::span);
        let also = Place { file: first.file, at, label: "the first one".to_owned() };
        let message = format!("two pods are called {}", quote(name.get_ref()));
        problems.add_pair(&name.span(), message, "the second one", also, "give each pod its own name");
    }
    unique
}

fn add_unknown(pods: &[PodFile], pod: &PodFile, wanted: &Spanned<String>, problems: &mut ProblemList<'_>) {
    let others: Vec<&str> = pods
        .iter()
        .filter(|other| other.file != pod.file)
        .filter_map(|other| Some(other.name.as_ref()?.get_ref().as_str()))
        .collect();
    let help = match nearest(wanted.get_ref(), &others) {
        Some(similar) => format!("a pod with a similar name exists: `{similar}`"),
        None if others.is_empty() => "no other pod was given; add its file".to_owned(),
        None => format!("the other pods are: {}", others.join(", ")),
    };
    let message = format!("unknown pod {}", quote(wanted.get_ref()));
    problems.add_structural(&wanted.span(), message, "not the name of a pod", &help);
}

/// The order in which each pod stands behind those that it waits for; else as given. Pods that
/// wait for each other are left out.
fn sort(pods: &[PodFile]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::with_capacity(pods.len());
    loop {
        let next = pods.iter().enumerate().position(|(position, pod)| {
            let mut waits_for = pod.after.iter().filter_map(|wanted| find(pods, wanted));
            !order.contains(&position) && waits_for.all(|other| order.contains(&other))
        });
        match next {
            Some(position) => order.push(position),
            None => return order,
        }
    }
}

/// Whoever cannot be sorted is in a ring, or waits for one. Every ring is told once.
fn check_rings(pods: &[PodFile], problems: &mut ProblemList<'_>) {
    let sorted = sort(pods);
    let mut seen: Vec<usize> = Vec::new();
    for start in 0..pods.len() {
        let mut path: Vec<usize> = Vec::new();
        let mut position = start;
        // Ends: every step either leaves, or adds one more pod to what was seen.
        loop {
            if let Some(begin) = path.iter().position(|&passed| passed == position) {
                add_ring(pods, path.get(begin..).unwrap_or_default(), problems);
                break;
            }
            if sorted.contains(&position) || seen.contains(&position) {
                break;
            }
            seen.push(position);
            path.push(position);
            let mut waits_for = pods.get(position).into_iter().flat_map(|pod| &pod.after);
            let next =
                waits_for.find_map(|wanted| find(pods, wanted).filter(|other| !sorted.contains(other)));
            match next {
                Some(next) => position = next,
                None => break,
            }
        }
    }
}

fn add_ring(pods: &[PodFile], ring: &[usize], problems: &mut ProblemList<'_>) {
    let names = |position: &usize| pods.get(*position).map_or("", |pod| pod.pod.name.as_str());
    let (Some(first), Some(last)) = (ring.first(), ring.last()) else { return };
    let mut text: Vec<&str> = ring.iter().map(names).collect();
    text.push(names(first));
    let (Some(first_pod), Some(last_pod)) = (pods.get(*first), pods.get(*last)) else { return };
    let edge = |from: &PodFile, to: &str| {
        from.after.iter().find(|wanted| wanted.get_ref() == to).map_or(0..0, Spanned::span)
    };
    problems.begin_file(last_pod.file);
    let also = problems.place(&edge(last_pod, names(first)), "and the ring closes here");
    problems.begin_file(first_pod.file);
    let at = edge(first_pod, text.get(1).copied().unwrap_or_default());
    let message = format!("pods wait for each other: {}", text.join(" → "));
    problems.add_pair(
        &at,
        message,
        "none of them would ever start",
        also,
        "remove one of the pods from an `after`",
    );
}

/// The plan of pods between which nothing is wrong.
pub(super) fn build_plan(machine: Machine, capacity: Capacity, pods: Vec<PodFile>) -> Plan {
    let order = sort(&pods);
    let place_of = |pod: usize| order.iter().position(|&position| position == pod);
    let id = |place: usize| PodId(u8::try_from(place).unwrap_or(u8::MAX));
    let waits_for: Vec<Vec<PodId>> = pods
        .iter()
        .map(|pod| {
            let mut ids: Vec<PodId> = pod
                .after
                .iter()
                .filter_map(|wanted| find(&pods, wanted))
                .filter_map(place_of)
                .map(id)
                .collect();
            ids.sort_unstable();
            ids
        })
        .collect();
    let mut files: Vec<Option<(PodFile, Vec<PodId>)>> = pods.into_iter().zip(waits_for).map(Some).collect();
    let mut plan = Plan { machine, capacity, pods: Vec::new(), containers: Vec::new() };
    for position in order {
        let Some((file, after)) = files.get_mut(position).and_then(Option::take) else { continue };
        let first = ContainerId(u16::try_from(plan.containers.len()).unwrap_or(u16::MAX)).0;
        let pod_id = id(plan.pods.len());
        let mut pod = file.pod;
        pod.after = after;
        for range in [&mut pod.init_containers, &mut pod.main_containers] {
            *range = range.start.saturating_add(first)..range.end.saturating_add(first);
        }
        plan.containers.extend(file.containers.into_iter().map(|mut container| {
            container.pod = pod_id;
            container
        }));
        plan.pods.push(pod);
    }
    plan
}
