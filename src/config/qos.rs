//! How well a pod is protected when the machine runs out of memory: its QoS class, and from that
//! what the OOM killer is told about each of its containers (`oom_score_adj`, proc(5)).

use super::effective::effective;
use super::plan::{Container, Plan, Pod, QosClass, Resources, Role};
use super::resources::Kind;

/// For a Guaranteed pod: nearly the last.
const GUARANTEED: i64 = -997;

/// For a BestEffort pod: the first.
const BEST_EFFORT: i64 = 1000;

/// Lowest and highest of a Burstable pod: above Guaranteed pods even when those use all memory,
/// and below BestEffort ones.
const BURSTABLE: core::ops::RangeInclusive<i64> = 1000 + GUARANTEED..=BEST_EFFORT - 1;

/// The QoS class of a pod whose own `resources` are `own`, if it has some, and otherwise count for
/// its containers alone. Processor and memory count, zero does not (Kubernetes, `ComputePodQOS`).
pub(super) fn qos_class(own: Option<&Resources>, containers: &[Container]) -> QosClass {
    let all: Vec<&Resources> = match own {
        Some(own) => vec![own],
        None => containers.iter().map(|container| &container.resources).collect(),
    };
    let amount = |amount: Option<u64>| amount.filter(|&amount| amount > 0);
    let both =
        |resources: &Resources, kind: Kind| (amount(kind.request(resources)), amount(kind.limit(resources)));
    let kinds = [Kind::Memory, Kind::Cpu];
    if !all.iter().any(|resources| kinds.iter().any(|&kind| both(resources, kind) != (None, None))) {
        return QosClass::BestEffort;
    }
    let is_exact = |resources: &&Resources| {
        kinds
            .iter()
            .all(|&kind| matches!(both(resources, kind), (Some(request), Some(limit)) if request == limit))
    };
    if all.iter().all(is_exact) { QosClass::Guaranteed } else { QosClass::Burstable }
}

/// What the OOM killer is told about a container's processes, -997 to 1000: the higher, the
/// earlier they are killed (Kubernetes, `GetContainerOOMScoreAdjust`).
///
/// In a Burstable pod a container that requests a tenth of the machine's memory has 900: as long as
/// it uses no more than that, it comes after whoever exceeds its request. What the pod requests
/// beyond its containers is shared among them. A sidecar is no better a victim than the weakest
/// main container. Where the machine's memory is not known, requests count for nothing.
pub fn oom_score_adj(plan: &Plan, container: &Container) -> i32 {
    let Some(pod) = plan.pods.get(container.pod.index()) else { return 0 };
    let score = match pod.qos_class {
        QosClass::Guaranteed => GUARANTEED,
        QosClass::BestEffort => BEST_EFFORT,
        QosClass::Burstable => {
            let containers = plan.containers.get(pod.containers()).unwrap_or_default();
            burstable(pod, containers, container, plan.capacity.memory)
        }
    };
    i32::try_from(score).unwrap_or(0)
}

fn burstable(pod: &Pod, containers: &[Container], container: &Container, capacity: Option<u64>) -> i64 {
    let Some(capacity) = capacity.filter(|&capacity| capacity > 0) else { return *BURSTABLE.end() };
    let requested = |container: &Container| container.resources.requests.memory.unwrap_or(0);
    let share = remaining_request(pod, containers);
    let score = |request: u64| {
        let part = u128::from(request.saturating_add(share)).saturating_mul(1000) / u128::from(capacity);
        1000_i64.saturating_sub(i64::try_from(part).unwrap_or(i64::MAX))
    };
    let mut best = score(requested(container));
    if container.role == Role::Sidecar {
        let mains = containers.iter().filter(|other| other.role == Role::Main);
        best = best.min(score(mains.map(requested).min().unwrap_or(0)));
    }
    best.clamp(*BURSTABLE.start(), *BURSTABLE.end())
}

/// Each container's part of what the pod requests beyond them: only with a request of its own.
fn remaining_request(pod: &Pod, containers: &[Container]) -> u64 {
    let own = pod.resources.requests.memory.unwrap_or(0);
    let own = own.saturating_sub(pod.overhead.memory.unwrap_or(0));
    let amounts = Kind::Memory.amounts_of(containers);
    let needed = effective("memory", &amounts, Default::default(), None).request.unwrap_or(0);
    let count = u64::try_from(containers.len()).unwrap_or(u64::MAX);
    own.saturating_sub(needed).checked_div(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::{Source, load_for};
    use super::*;
    use crate::config::plan::Capacity;

    /// Classes and scores of the containers of a pod on a machine of 1000 MiB.
    fn scores(pod: &str, containers: &[(&str, &str)]) -> (QosClass, Vec<i32>) {
        let mut text = format!("name = \"pod\"\n{pod}\n");
        for (number, (list, rest)) in containers.iter().enumerate() {
            text += &format!(
                "[[{list}]]\nname = \"c{number}\"\nrootfs = \"/srv\"\ncommand = [\"/app\"]\n{rest}\n"
            );
        }
        let found = Capacity { memory: Some(1000 << 20), cpu_millis: Some(8000) };
        let source = Source { name: "pod.toml".to_owned(), bytes: text.into_bytes() };
        let plan = load_for(found, None, &[source]).unwrap_or_else(|problems| panic!("{problems}"));
        let scores = plan.containers.iter().map(|container| oom_score_adj(&plan, container)).collect();
        (plan.pods.first().unwrap().qos_class, scores)
    }

    const MAIN: &str = "containers";
    const INIT: &str = "init-containers";

    fn with(memory: &str, cpu: &str) -> String {
        let amount = |key: &str, amount: &str| match amount {
            "" => String::new(),
            amount => format!("{key} = \"{amount}\","),
        };
        format!("{{ {} {} }}", amount("memory", memory), amount("cpu", cpu)).replace(", }", " }")
    }

    fn limits(memory: &str, cpu: &str) -> String {
        format!("resources = {{ limits = {} }}", with(memory, cpu))
    }

    fn requests(memory: &str, cpu: &str) -> String {
        format!("resources = {{ requests = {} }}", with(memory, cpu))
    }

    #[test]
    fn a_pod_is_guaranteed_only_if_all_of_it_is() {
        let all = limits("100Mi", "1");
        assert_eq!(scores("", &[(MAIN, &all), (INIT, &all)]), (QosClass::Guaranteed, vec![-997, -997]));
        for other in [limits("100Mi", ""), limits("", "1"), requests("100Mi", "1"), String::new()] {
            for list in [MAIN, INIT] {
                let (class, _) = scores("", &[(MAIN, &all), (list, &other)]);
                assert_eq!(class, QosClass::Burstable, "{list}: {other}");
            }
        }
        let less =
            "resources = { requests = { memory = \"50Mi\" }, limits = { memory = \"100Mi\", cpu = 1 } }";
        assert_eq!(scores("", &[(MAIN, less)]).0, QosClass::Burstable);
    }

    #[test]
    fn a_pod_that_says_nothing_of_weight_is_the_first_to_go() {
        for said in
            ["", "resources = { limits = { pids = 10 } }", "resources = { requests = { memory = 0 } }"]
        {
            assert_eq!(scores("", &[(MAIN, said)]), (QosClass::BestEffort, vec![1000]), "{said}");
        }
    }

    #[test]
    fn what_the_pod_says_itself_decides_alone() {
        let half = requests("100Mi", "");
        let pod = limits("500Mi", "1");
        assert_eq!(scores(&pod, &[(MAIN, "")]).0, QosClass::Guaranteed);
        // Its request is then what the containers request.
        assert_eq!(scores(&pod, &[(MAIN, &half)]).0, QosClass::Burstable);
        assert_eq!(scores(&requests("500Mi", ""), &[(MAIN, &limits("100Mi", "1"))]).0, QosClass::Burstable);
    }

    #[test]
    fn a_burstable_container_stands_by_its_request() {
        for (request, expected) in [("100Mi", 900), ("1Mi", 999), ("100k", 999), ("999Mi", 3), ("1000Mi", 3)]
        {
            assert_eq!(
                scores("", &[(MAIN, &requests(request, ""))]),
                (QosClass::Burstable, vec![expected]),
                "{request}"
            );
        }
        let cpu = requests("", "1");
        assert_eq!(scores("", &[(MAIN, &cpu), (MAIN, &requests("250Mi", ""))]).1, [999, 750]);
    }

    #[test]
    fn a_sidecar_is_no_better_a_victim_than_the_weakest_main() {
        let sidecar = |memory| format!("restart-policy = \"always\"\n{}", requests(memory, ""));
        let (large, small) = (requests("300Mi", ""), requests("200Mi", ""));
        for (request, expected) in [("1Mi", 800), ("200Mi", 800), ("250Mi", 750)] {
            let (_, scores) = scores("", &[(INIT, &sidecar(request)), (MAIN, &large), (MAIN, &small)]);
            assert_eq!(scores, [expected, 700, 800], "{request}");
        }
        // A main container that requests nothing is the weakest.
        assert_eq!(scores("", &[(INIT, &sidecar("1Mi")), (MAIN, "")]).1, [999, 999]);
    }

    #[test]
    fn what_the_pod_requests_beyond_its_containers_is_shared() {
        let pod = format!("overhead = {{ memory = \"100Mi\" }}\n{}", requests("500Mi", ""));
        let hundred = requests("100Mi", "");
        assert_eq!(scores(&pod, &[(MAIN, &hundred), (MAIN, "")]).1, [700, 800]);
    }

    #[test]
    fn without_knowledge_of_the_machine_requests_count_for_nothing() {
        let text = "name = \"pod\"\n[[containers]]\nname = \"c\"\nrootfs = \"/srv\"\ncommand = [\"/app\"]\n\
                    resources = { requests = { memory = \"100Mi\" } }";
        let source = Source { name: "pod.toml".to_owned(), bytes: text.into() };
        let plan = super::super::load(None, &[source]).unwrap();
        assert_eq!(oom_score_adj(&plan, plan.containers.first().unwrap()), 999);
    }
}
