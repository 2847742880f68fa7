//! Whether a container that ended is started again (Kubernetes' restart policies and restart
//! policy rules).
//!
//! Three levels, the first that has something to say decides: the container's own rules, by the
//! exit code; its own restart policy; that of its pod. Rules are about what the container did by
//! itself: a container that a failed probe has stopped is judged by the policies alone.

use super::record::{Cause, End, ExitStatus, StopReason};
use crate::config::plan::{Container, Pod, RestartAction, RestartPolicy, RestartRule, Role};

/// What decides about one container: its part, and its policies.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'p> {
    /// Its part in the pod's lifecycle.
    pub role: Role,
    /// Its own restart policy, if it has one.
    pub own: Option<RestartPolicy>,
    /// Its own rules, in order.
    pub rules: &'p [RestartRule],
    /// The policy of its pod.
    pub of_pod: RestartPolicy,
}

/// What follows when a container has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it ended.
    Stay,
    /// It is started again.
    Restart,
    /// All containers of its pod are stopped and started again, from the first init container on.
    RestartAllContainers,
}

impl<'p> Policy<'p> {
    /// What decides about a container of this pod.
    pub fn of(pod: &Pod, container: &'p Container) -> Policy<'p> {
        Policy {
            role: container.role,
            own: container.restart_policy,
            rules: &container.restart_policy_rules,
            of_pod: pod.restart_policy,
        }
    }

    /// The policy that holds where no rule matches. A sidecar is always started again.
    pub fn effective(&self) -> RestartPolicy {
        match self.role {
            Role::Sidecar => RestartPolicy::Always,
            Role::Init | Role::Main => self.own.unwrap_or(self.of_pod),
        }
    }

    /// The first rule that this exit code matches: its position.
    pub fn matching_rule(&self, code: u8) -> Option<usize> {
        self.rules.iter().position(|rule| rule.matches(code))
    }

    /// What follows an exit with this code (Kubernetes: ContainerShouldRestart). Of a regular init
    /// container it is asked after a failure.
    pub fn after_exit(&self, code: u8) -> Decision {
        self.after(Some(code), code != 0)
    }

    /// What follows `end`.
    ///
    /// A start that failed is repeated under every policy: the container has not had its run yet. A
    /// regular init container that has succeeded stays so, unless a rule restarts all containers
    /// for it; one that the OOM killer has spoilt (see
    /// [`Exit::is_success`](super::record::Exit::is_success)) has failed even with exit code 0.
    pub fn decide(&self, end: End) -> Decision {
        let (exit, stopped) = match end.cause {
            // A pod that is being stopped starts nothing; asked outside of that, it has not had its
            // run yet.
            Cause::StartFailed | Cause::NeverRan => return Decision::Restart,
            // What an init container does may not be done twice where nothing is to be repeated.
            Cause::MayHaveRun => {
                return restart_if(self.role != Role::Init || self.effective() != RestartPolicy::Never);
            }
            Cause::LeftBehind => return Decision::Stay,
            Cause::Exit { exit, stopped } => (exit, stopped),
        };
        match stopped {
            // Restarted even if it handled the stop signal and exited with 0.
            Some(StopReason::StartupProbe | StopReason::LivenessProbe) => {
                return restart_if(self.effective() != RestartPolicy::Never);
            }
            // That was what it was stopped for.
            Some(StopReason::RestartAllContainers | StopReason::Changed) => return Decision::Restart,
            Some(
                StopReason::Pod
                | StopReason::CreateTimeout
                | StopReason::StartTimeout
                | StopReason::PostStartHook,
            )
            | None => {}
        }
        let code = match exit.status {
            ExitStatus::Code(_) | ExitStatus::Signal(_) => Some(exit.status.code()),
            ExitStatus::Unknown => None,
        };
        let succeeded = exit.is_success(self.role);
        let decision = self.after(code, !succeeded);
        if decision == Decision::Restart && self.role == Role::Init && succeeded {
            return Decision::Stay;
        }
        decision
    }

    /// Without a code, because nobody knows it, no rule can match.
    fn after(&self, code: Option<u8>, failed: bool) -> Decision {
        let rule =
            code.and_then(|code| self.matching_rule(code)).and_then(|position| self.rules.get(position));
        match (rule.map(|rule| rule.action), self.effective()) {
            (Some(RestartAction::RestartAllContainers), _) => Decision::RestartAllContainers,
            (Some(RestartAction::Restart), _) | (None, RestartPolicy::Always) => Decision::Restart,
            (None, RestartPolicy::OnFailure) => restart_if(failed),
            (None, RestartPolicy::Never) => Decision::Stay,
        }
    }

    /// Whether the container is started again after `end`, alone or with all others.
    pub fn should_restart(&self, end: End) -> bool {
        self.decide(end) != Decision::Stay
    }
}

fn restart_if(restarts: bool) -> Decision {
    if restarts { Decision::Restart } else { Decision::Stay }
}

#[cfg(test)]
mod tests {
    use super::RestartPolicy::{Always, Never, OnFailure};
    use super::*;
    use crate::config::plan::Operator;
    use crate::supervisor::record::Exit;
    use crate::time::Instant;

    fn policy(role: Role, own: Option<RestartPolicy>, of_pod: RestartPolicy) -> Policy<'static> {
        Policy { role, own, rules: &[], of_pod }
    }

    fn rule(action: RestartAction, operator: Operator, values: &[u8]) -> RestartRule {
        RestartRule { action, operator, values: values.to_vec() }
    }

    fn end(exit: Exit, stopped: Option<StopReason>) -> End {
        End { at: Instant::ZERO, cause: Cause::Exit { exit, stopped } }
    }

    fn exit(code: u8) -> Exit {
        ExitStatus::Code(code).into()
    }

    #[test]
    fn the_policy_of_the_pod_decides_as_in_kubernetes() {
        let probe = Some(StopReason::LivenessProbe);
        let oom_killed = |code| Exit { status: ExitStatus::Code(code), oom_killed: true };
        let start_failed = End { at: Instant::ZERO, cause: Cause::StartFailed };
        let may_have_run = End { at: Instant::ZERO, cause: Cause::MayHaveRun };
        for (role, of_pod, end, expected) in [
            (Role::Main, Always, end(exit(0), None), true),
            (Role::Main, Always, end(exit(1), None), true),
            (Role::Main, OnFailure, end(exit(0), None), false),
            (Role::Main, OnFailure, end(exit(1), None), true),
            (Role::Main, OnFailure, end(exit(0), probe), true),
            (Role::Main, Never, end(exit(1), None), false),
            (Role::Main, Never, end(exit(137), probe), false),
            (Role::Main, Never, start_failed, true),
            (Role::Main, Never, may_have_run, true),
            (Role::Sidecar, Never, may_have_run, true),
            (Role::Init, Never, may_have_run, false),
            (Role::Init, Never, start_failed, true),
            (Role::Init, OnFailure, may_have_run, true),
            (Role::Sidecar, Never, end(exit(0), None), true),
            (Role::Sidecar, OnFailure, end(exit(0), None), true),
            (Role::Init, Always, end(exit(0), None), false),
            (Role::Init, Always, end(exit(1), None), true),
            (Role::Init, OnFailure, end(exit(1), None), true),
            (Role::Init, Never, end(exit(1), None), false),
            (Role::Init, Always, end(oom_killed(0), None), true),
            (Role::Init, OnFailure, end(oom_killed(0), None), true),
            (Role::Init, Never, end(oom_killed(0), None), false),
            (Role::Main, OnFailure, end(oom_killed(0), None), false),
            (Role::Main, OnFailure, end(oom_killed(137), None), true),
            (Role::Main, Never, end(oom_killed(137), None), false),
            (Role::Sidecar, Never, end(oom_killed(0), None), true),
        ] {
            let restarts = policy(role, None, of_pod).should_restart(end);
            assert_eq!(restarts, expected, "{role:?} {of_pod:?} {end:?}");
        }
    }

    #[test]
    fn the_own_policy_goes_before_that_of_the_pod() {
        for (role, own, of_pod, code, expected) in [
            (Role::Main, Always, Never, 0, true),
            (Role::Main, OnFailure, Never, 0, false),
            (Role::Main, OnFailure, Never, 1, true),
            (Role::Main, Never, Always, 1, false),
            (Role::Init, Never, Always, 1, false),
            (Role::Init, OnFailure, Never, 1, true),
            (Role::Init, OnFailure, Never, 0, false),
        ] {
            let restarts = policy(role, Some(own), of_pod).should_restart(end(exit(code), None));
            assert_eq!(restarts, expected, "{role:?} {own:?} {of_pod:?} {code}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_goes_before_the_policies() {
        use RestartAction::{Restart, RestartAllContainers};
        let (listed, other) = (Operator::In, Operator::NotIn);
        for (rules, code, expected) in [
            (vec![rule(Restart, listed, &[42, 50])], 42, Decision::Restart),
            (vec![rule(Restart, listed, &[10, 20])], 30, Decision::Stay),
            (vec![rule(Restart, other, &[0, 1])], 99, Decision::Restart),
            (vec![rule(Restart, other, &[10, 20])], 10, Decision::Stay),
            (vec![rule(Restart, other, &[])], 7, Decision::Restart),
            (vec![rule(Restart, listed, &[])], 7, Decision::Stay),
            (vec![rule(RestartAllContainers, listed, &[42])], 42, Decision::RestartAllContainers),
            (
                vec![rule(Restart, listed, &[42]), rule(RestartAllContainers, other, &[])],
                42,
                Decision::Restart,
            ),
            (
                vec![rule(RestartAllContainers, other, &[1]), rule(Restart, listed, &[42])],
                42,
                Decision::RestartAllContainers,
            ),
        ] {
            let policy = Policy { rules: &rules, ..policy(Role::Main, Some(Never), Always) };
            assert_eq!(policy.decide(end(exit(code), None)), expected, "{rules:?} {code}");
            assert_eq!(policy.after_exit(code), expected, "{rules:?} {code}");
        }
    }

    #[test]
    fn rules_see_what_a_container_did_by_itself() {
        let rules = [rule(RestartAction::RestartAllContainers, Operator::NotIn, &[])];
        let main = Policy { rules: &rules, ..policy(Role::Main, Some(Never), Never) };
        let killed = ExitStatus::Signal(9).into();
        assert_eq!(main.decide(end(killed, None)), Decision::RestartAllContainers);
        assert_eq!(main.decide(end(killed, Some(StopReason::LivenessProbe))), Decision::Stay);
        assert_eq!(main.decide(end(ExitStatus::Unknown.into(), None)), Decision::Stay);
    }

    #[test]
    fn an_init_container_that_has_succeeded_runs_again_only_with_all_others() {
        let again = [rule(RestartAction::Restart, Operator::In, &[0])];
        let all = [rule(RestartAction::RestartAllContainers, Operator::In, &[0])];
        let init = policy(Role::Init, Some(OnFailure), Always);
        let succeeded = end(exit(0), None);
        assert_eq!(Policy { rules: &again, ..init }.decide(succeeded), Decision::Stay);
        assert_eq!(Policy { rules: &all, ..init }.decide(succeeded), Decision::RestartAllContainers);
    }
}
