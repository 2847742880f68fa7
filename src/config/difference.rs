//! What differs between two plans, pod by pod, as their users wrote them: not in what order the
//! pods stand, and not at which positions of the tables.

use core::fmt::{self, Display};
use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

use super::plan::{Container, Plan, Pod, PodId};

/// What differs. Names are in the order of the plan that has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Whether the machine file says something else.
    pub machine: bool,
    /// Pods that both plans have, and that are not the same.
    pub changed: Vec<String>,
    /// Pods that only the newer plan has.
    pub added: Vec<String>,
    /// Pods that only the older plan has.
    pub removed: Vec<String>,
}

impl Difference {
    /// From `old` to `new`.
    pub fn between(old: &Plan, new: &Plan) -> Difference {
        let mut difference = Difference { machine: old.machine != new.machine, ..Difference::default() };
        for pod in &new.pods {
            match old.pods.iter().find(|other| other.name == pod.name) {
                None => difference.added.push(pod.name.clone()),
                Some(other) if !is_same(old, other, new, pod) => difference.changed.push(pod.name.clone()),
                Some(_) => {}
            }
        }
        let gone = |pod: &&Pod| !new.pods.iter().any(|other| other.name == pod.name);
        difference.removed = old.pods.iter().filter(gone).map(|pod| pod.name.clone()).collect();
        difference
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Difference::default()
    }
}

/// A number for all that a pod and its containers are: another one means another pod. Good for as
/// long as the program is the same; one that knows more keys has other numbers.
pub fn fingerprint(plan: &Plan, pod: &Pod) -> u64 {
    let mut hasher = DefaultHasher::new();
    pod_alone(pod).hash(&mut hasher);
    containers(plan, pod).for_each(|container| container.hash(&mut hasher));
    hasher.finish()
}

/// FNV-1a with 64 bits: finds what is changed or torn by accident, not by intent.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn is_same(old_plan: &Plan, old: &Pod, new_plan: &Plan, new: &Pod) -> bool {
    pod_alone(old) == pod_alone(new)
        && after(old_plan, old).eq(after(new_plan, new))
        && containers(old_plan, old).eq(containers(new_plan, new))
}

/// The pod without its references into the tables of a plan.
fn pod_alone(pod: &Pod) -> Pod {
    let first = pod.init_containers.start;
    let moved = |run: &core::ops::Range<u16>| run.start.abs_diff(first)..run.end.abs_diff(first);
    Pod {
        after: Vec::new(),
        init_containers: moved(&pod.init_containers),
        main_containers: moved(&pod.main_containers),
        ..pod.clone()
    }
}

fn after<'a>(plan: &'a Plan, pod: &'a Pod) -> impl Iterator<Item = Option<&'a str>> {
    pod.after.iter().map(|id| Some(plan.pods.get(id.index())?.name.as_str()))
}

fn containers<'a>(plan: &'a Plan, pod: &Pod) -> impl Iterator<Item = Container> + use<'a> {
    let containers = plan.containers.get(pod.containers()).unwrap_or_default();
    containers.iter().map(|container| Container { pod: PodId(0), ..container.clone() })
}

/// `changed: pods a, b; new: pod c; no longer there: pod d; changed: the machine file`
impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (what, pods) in
            [("changed", &self.changed), ("new", &self.added), ("no longer there", &self.removed)]
        {
            if let [first, rest @ ..] = pods.as_slice() {
                write!(f, "{separator}{what}: pod{} {first}", if rest.is_empty() { "" } else { "s" })?;
                rest.iter().try_for_each(|pod| write!(f, ", {pod}"))?;
                separator = "; ";
            }
        }
        if self.machine {
            write!(f, "{separator}changed: the machine file")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Source, load};
    use super::*;

    fn source(name: &str, text: &str) -> Source {
        Source { name: name.to_owned(), bytes: text.as_bytes().to_vec() }
    }

    fn pod(name: &str, after: &str, app: &str) -> String {
        format!(
            "name = \"{name}\"\nafter = [{after}]\n[[containers]]\nname = \"{app}\"\nrootfs = \"/srv\"\n\
             command = [\"/bin/app\"]\n"
        )
    }

    fn plan(machine: &str, pods: &[String]) -> Plan {
        let pods: Vec<Source> = pods.iter().map(|text| source("pod.toml", text)).collect();
        load(Some(&source("machine.toml", machine)), &pods).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn every_kind_of_change_is_told_by_pod() {
        let (a, b) = (pod("a", "", "app"), pod("b", "\"a\"", "app"));
        let old = plan("", &[a.clone(), b.clone()]);
        let cases = [
            ("", vec![a.clone(), b.clone()], ""),
            // Another order of the files is no change, nor is another position in the tables.
            ("", vec![b.clone(), a.clone()], ""),
            ("", vec![pod("0", "", "app"), a.clone(), b.clone()], "new: pod 0"),
            ("", vec![pod("a", "", "other"), b.clone()], "changed: pod a"),
            ("", vec![a.clone(), pod("b", "", "app")], "changed: pod b"),
            ("", vec![pod("a", "", "other"), pod("b", "", "app")], "changed: pods a, b"),
            ("", vec![a.clone()], "no longer there: pod b"),
            ("", vec![pod("c", "", "app"), a.clone()], "new: pod c; no longer there: pod b"),
            ("cgroups = \"best-effort\"", vec![a.clone(), b.clone()], "changed: the machine file"),
            (
                "restart-backoff = { max = \"20s\" }",
                vec![a.clone(), b.clone()],
                // The pauses of a pod that has none of its own are the machine's.
                "changed: pods a, b",
            ),
        ];
        for (machine, pods, expected) in cases {
            let difference = Difference::between(&old, &plan(machine, &pods));
            assert_eq!(difference.to_string(), expected);
            assert_eq!(difference.is_empty(), expected.is_empty());
        }
    }
}
