//! What a pod needs of one resource, from what its containers say about it: Kubernetes' sidecar
//! formula (KEP-753), with pod-level resources (KEP-2837) and overhead.
//!
//! The same for every resource, which is why amounts are plain numbers in the resource's smallest
//! unit: bytes, thousandths of a CPU, pieces.

use super::plan::Role;

/// What is said about one resource; `None` where nothing is said. Zero is something said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// What it should have.
    pub request: Option<u64>,
    /// What it may not pass.
    pub limit: Option<u64>,
}

impl Amounts {
    /// A container's amounts: a request that is missing is the limit (Kubernetes, defaults of a
    /// container).
    pub fn of_container(self) -> Amounts {
        Amounts { request: self.request.or(self.limit), ..self }
    }

    /// A pod's own amounts: a request that is missing beside a limit is what the containers
    /// (their amounts complete) request together, or the limit if none of them requests anything
    /// (Kubernetes, defaults of pod-level resources).
    pub fn of_pod(self, containers: &[(Role, Amounts)]) -> Amounts {
        let default = || self.limit.map(|limit| aggregate(containers, |own| own.request).unwrap_or(limit));
        Amounts { request: self.request.or_else(default), ..self }
    }
}

/// What the pod as a whole needs of `resource` (`cpu`, `memory`, `hugepages-2Mi`, ...).
///
/// `containers` are in the order of the file, init containers first. `own` is what the pod's own
/// `resources` say: where set, they replace what the containers need together, for the resources
/// for which a pod can say something. `overhead` comes on top of a request always, and on top of a
/// limit where there is one that is not zero. A container without a limit adds nothing to the
/// pod's; whether that can then be enforced is for the caller to decide.
///
/// Takes all amounts as they are: see [`Amounts::of_container`] and [`Amounts::of_pod`] for what
/// holds where something is left out. Sums end at `u64::MAX`.
pub fn effective(
    resource: &str,
    containers: &[(Role, Amounts)],
    own: Amounts,
    overhead: Option<u64>,
) -> Amounts {
    let own = if is_for_pods(resource) { own } else { Amounts::default() };
    let request = own.request.or_else(|| aggregate(containers, |amounts| amounts.request));
    let limit = own.limit.or_else(|| aggregate(containers, |amounts| amounts.limit));
    let Some(overhead) = overhead else { return Amounts { request, limit } };
    Amounts {
        request: Some(request.unwrap_or(0).saturating_add(overhead)),
        limit: limit.map(|limit| if limit == 0 { 0 } else { limit.saturating_add(overhead) }),
    }
}

/// Whether a pod's own `resources` can speak of it: those of Kubernetes, and the processes, which
/// there are the kubelet's to limit.
fn is_for_pods(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory" | "pids") || resource.starts_with("hugepages-")
}

/// The most that is in use at one time: while an init container runs, it and the sidecars before
/// it; afterwards all sidecars and all main containers. `None` if no container says anything.
fn aggregate(containers: &[(Role, Amounts)], amount: impl Fn(&Amounts) -> Option<u64>) -> Option<u64> {
    let mut sidecars: u64 = 0;
    let mut mains: u64 = 0;
    let mut most: u64 = 0;
    let mut anything = false;
    for (role, amounts) in containers {
        let own = amount(amounts);
        anything |= own.is_some();
        let own = own.unwrap_or(0);
        match role {
            Role::Init => most = most.max(own.saturating_add(sidecars)),
            Role::Sidecar => sidecars = sidecars.saturating_add(own),
            Role::Main => mains = mains.saturating_add(own),
        }
    }
    // What a sidecar needs when it starts is never more than all of them need later.
    anything.then_some(most.max(sidecars.saturating_add(mains)))
}

#[cfg(test)]
mod tests {
    use super::Role::{Init, Main, Sidecar};
    use super::*;

    type Containers = &'static [(Role, u64)];

    fn said(list: &[(Role, u64)], amounts: impl Fn(u64) -> Amounts) -> Vec<(Role, Amounts)> {
        list.iter().map(|&(role, amount)| (role, amounts(amount))).collect()
    }

    fn request(amount: u64) -> Amounts {
        Amounts { request: Some(amount), limit: None }
    }

    fn limit(amount: u64) -> Amounts {
        Amounts { request: None, limit: Some(amount) }
    }

    const NOTHING: Amounts = Amounts { request: None, limit: None };

    #[test]
    fn the_start_order_decides_for_requests_and_limits_alike() {
        let cases: [(&str, Containers, u64); 12] = [
            ("mains add up", &[(Main, 1), (Main, 2)], 3),
            ("a large init counts alone", &[(Init, 4), (Main, 1)], 4),
            ("the largest init counts, not their sum", &[(Init, 5), (Init, 4), (Main, 2)], 5),
            ("mains outweigh a small init", &[(Init, 2), (Main, 2), (Main, 3)], 5),
            ("a sidecar stays beside the mains", &[(Sidecar, 1), (Main, 1)], 2),
            ("an init before a sidecar runs without it", &[(Init, 5), (Sidecar, 2), (Main, 1)], 5),
            ("an init behind a sidecar runs beside it", &[(Sidecar, 10), (Init, 200), (Main, 100)], 210),
            (
                "sidecars add up behind a large init",
                &[(Init, 5), (Sidecar, 1), (Sidecar, 2), (Sidecar, 3), (Main, 1)],
                7,
            ),
            (
                "an init has only the sidecars before it",
                &[(Init, 5), (Sidecar, 1), (Sidecar, 2), (Init, 5), (Sidecar, 3), (Main, 1)],
                8,
            ),
            ("a sidecar and an init before a main", &[(Sidecar, 4), (Init, 8), (Main, 2)], 12),
            ("zero is something said", &[(Main, 0)], 0),
            ("sums end at the end of the numbers", &[(Sidecar, u64::MAX), (Init, 1), (Main, 1)], u64::MAX),
        ];
        for (situation, list, expected) in cases {
            let requests = effective("cpu", &said(list, request), NOTHING, None);
            assert_eq!(requests, request(expected), "{situation}");
            let limits = effective("storage", &said(list, limit), NOTHING, None);
            assert_eq!(limits, limit(expected), "{situation}");
        }
    }

    #[test]
    fn who_says_nothing_adds_nothing() {
        assert_eq!(effective("cpu", &[], NOTHING, None), NOTHING);
        assert_eq!(effective("cpu", &[(Main, NOTHING)], NOTHING, None), NOTHING);
        for (role, least) in [(Main, limit(2)), (Init, limit(2)), (Sidecar, limit(2))] {
            let containers = [(role, NOTHING), (Main, least)];
            assert_eq!(effective("cpu", &containers, NOTHING, None), limit(2), "{role:?}");
        }
        assert_eq!(
            effective("cpu", &[(Init, limit(2)), (Init, NOTHING), (Main, limit(1))], NOTHING, None),
            limit(2)
        );
    }

    #[test]
    fn overhead_comes_on_top_of_a_limit_only_where_there_is_one() {
        let both = |request, limit| Amounts { request, limit };
        let cases = [
            ("nothing said", NOTHING, None, NOTHING),
            ("a limit and no overhead", limit(9), None, limit(9)),
            ("only overhead", NOTHING, Some(5), request(5)),
            ("request and limit", both(Some(1), Some(2)), Some(5), both(Some(6), Some(7))),
            ("request alone", request(10), Some(5), request(15)),
            ("limit alone", limit(2), Some(1), both(Some(1), Some(3))),
            ("limit zero", limit(0), Some(1), both(Some(1), Some(0))),
        ];
        for (situation, container, overhead, expected) in cases {
            let found = effective("memory", &[(Main, container)], NOTHING, overhead);
            assert_eq!(found, expected, "{situation}");
        }
        // On top of what the pod says itself, too.
        let pod = both(Some(20), Some(30));
        assert_eq!(effective("memory", &[(Main, request(10))], pod, Some(5)), both(Some(25), Some(35)));
    }

    #[test]
    fn what_the_pod_says_replaces_the_sum_where_it_may_speak() {
        let containers = [(Sidecar, request(5)), (Init, request(6)), (Main, request(3))];
        for (resource, pod, expected) in [
            ("memory", request(15), request(15)),
            ("memory", NOTHING, request(11)),
            ("cpu", request(18), request(18)),
            ("hugepages-2Mi", request(12), request(12)),
            ("storage", request(2), request(11)),
            ("ephemeral-storage", request(20), request(11)),
        ] {
            assert_eq!(effective(resource, &containers, pod, None), expected, "{resource}");
        }
        assert_eq!(effective("memory", &[], request(2), None), request(2));
        assert_eq!(effective("storage", &[(Main, NOTHING)], request(2), None), NOTHING);
        let pod = Amounts { request: Some(10), limit: Some(10) };
        assert_eq!(effective("hugepages-2Mi", &[(Main, NOTHING)], pod, None), pod);
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let both = Amounts { request: Some(3), limit: Some(3) };
        assert_eq!(limit(3).of_container(), both);
        assert_eq!(request(3).of_container(), request(3));
        assert_eq!(NOTHING.of_container(), NOTHING);

        let containers = [(Main, request(2)), (Sidecar, request(1))];
        assert_eq!(limit(5).of_pod(&containers), Amounts { request: Some(3), limit: Some(5) });
        assert_eq!(limit(5).of_pod(&[(Main, NOTHING)]), Amounts { request: Some(5), limit: Some(5) });
        assert_eq!(request(9).of_pod(&containers), request(9));
        assert_eq!(NOTHING.of_pod(&containers), NOTHING);
    }
}
