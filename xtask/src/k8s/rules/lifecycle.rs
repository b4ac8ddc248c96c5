//! Probes that a busy server survives, and an end that loses no request.

use serde_json::Value;

use super::is_server;
use crate::k8s::finding::Finding;
use crate::k8s::object::{Container, Object, Pod, items};

/// What Kubernetes takes when nothing is said.
const DEFAULT_TIMEOUT: u64 = 1;
const DEFAULT_PERIOD: u64 = 10;
const DEFAULT_FAILURES: u64 = 3;
const DEFAULT_TERMINATION: u64 = 30;
const DEFAULT_PROGRESS: u64 = 600;
/// A server with every CPU at work may take seconds to answer.
const SHORTEST_TIMEOUT: u64 = 5;
/// How long a server may be silent before it is started again, in seconds.
const SHORTEST_SILENCE: u64 = 60;
/// How long a model may take to load from a slow volume, in seconds.
const SHORTEST_START: u64 = 600;
/// What `caravan serve` takes for `--grace`.
const DEFAULT_GRACE: u64 = 25;
/// What it takes to end after its grace, and what a node takes to notice.
const LAST: u64 = 3 + 5;
/// How long nodes may take to learn that a pod gets no new requests.
const SHORTEST_PAUSE: u64 = 5;

pub(super) fn check(objects: &[Object]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pod in objects.iter().filter_map(Object::pod) {
        for container in pod.containers().filter(|container| !container.is_initial && is_server(container)) {
            findings.extend(probes(&pod, &container));
            findings.extend(end(&pod, &container));
        }
    }
    findings
}

/// One probe.
struct Probe<'a> {
    name: &'static str,
    value: &'a Value,
}

impl Probe<'_> {
    fn number(&self, field: &str, default: u64) -> u64 {
        self.value.get(field).and_then(Value::as_u64).unwrap_or(default)
    }

    /// How long it must fail until it counts, in seconds.
    fn patience(&self) -> u64 {
        self.number("periodSeconds", DEFAULT_PERIOD).saturating_mul(self.number("failureThreshold", DEFAULT_FAILURES))
    }
}

fn probes(pod: &Pod<'_>, container: &Container<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let path = format!("{}.{name}", container.path);
        let error = |rule, why: String| Finding::error(rule, pod.object, path.clone(), why);
        let Some(value) = container.value.get(name) else {
            findings.push(error("probe-missing", "there is none".to_owned()));
            continue;
        };
        let probe = Probe { name, value };
        let timeout = probe.number("timeoutSeconds", DEFAULT_TIMEOUT);
        if timeout < SHORTEST_TIMEOUT {
            let why = format!("a server with every CPU at work may not answer within {timeout} s");
            let hint = format!("set `timeoutSeconds` to {SHORTEST_TIMEOUT} or more");
            findings.push(error("probe-timeout", why).hint(hint));
        }
        let patience = probe.patience();
        match probe.name {
            "startupProbe" if patience < SHORTEST_START => {
                let why = format!("a model has {patience} s to load, and then the pod is killed");
                findings.push(error("startup-too-short", why).hint("raise `failureThreshold`"));
            }
            "startupProbe" => findings.extend(progress(pod, patience)),
            "livenessProbe" if patience < SHORTEST_SILENCE => {
                let why = format!("a busy server is killed after {patience} s");
                findings.push(error("liveness-too-strict", why).hint("raise `failureThreshold`"));
            }
            _ => {}
        }
    }
    findings
}

/// A Deployment must not give up before its pods may.
fn progress(pod: &Pod<'_>, patience: u64) -> Option<Finding> {
    if pod.object.kind() != "Deployment" {
        return None;
    }
    let deadline = pod.object.at("/spec/progressDeadlineSeconds").and_then(Value::as_u64).unwrap_or(DEFAULT_PROGRESS);
    (deadline <= patience).then(|| {
        let why = format!("a roll-out counts as failed after {deadline} s, and a pod may take {patience} s to start");
        Finding::error("deadline-below-startup", pod.object, "spec.progressDeadlineSeconds", why)
    })
}

/// A pod leaves the Service first, then finishes what it has, and only then may be killed.
fn end(pod: &Pod<'_>, container: &Container<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let pause = container.at("/lifecycle/preStop/sleep/seconds").and_then(Value::as_u64).unwrap_or(0);
    if pause < SHORTEST_PAUSE {
        let path = format!("{}.lifecycle.preStop", container.path);
        let why = "the server ends before every node knows that it gets no new requests".to_owned();
        let hint = format!("`sleep: {{seconds: {SHORTEST_PAUSE}}}` or more");
        findings.push(Finding::error("no-pause", pod.object, path, why).hint(hint));
    }
    let total = pod.spec.get("terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(DEFAULT_TERMINATION);
    let grace = grace(container);
    let least = pause.saturating_add(grace).saturating_add(LAST);
    if total < least {
        let path = format!("{}.terminationGracePeriodSeconds", pod.path);
        let why = format!(
            "the pod is killed after {total} s, and draining may take {least} s: {pause} s pause, {grace} s `--grace`, {LAST} s to end"
        );
        findings.push(Finding::error("grace-too-short", pod.object, path, why).hint("raise it, or lower `--grace`"));
    }
    findings
}

/// What `caravan serve` is told, up to what is for llama-server.
fn grace(container: &Container<'_>) -> u64 {
    let words = ["/command", "/args"].into_iter().flat_map(|list| items(container.value, list));
    let words: Vec<&str> = words.filter_map(Value::as_str).take_while(|word| *word != "--").collect();
    let mut given = words.iter().enumerate().rev().filter_map(|(number, word)| match word.split_once('=') {
        Some(("--grace", value)) => Some(value),
        None if *word == "--grace" => words.get(number + 1).copied(),
        _ => None,
    });
    given.next().and_then(|value| value.parse().ok()).unwrap_or(DEFAULT_GRACE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::k8s::rules::tests::{found, remove, set};

    const SERVER: &str = "/spec/template/spec/containers/0";

    fn server(field: &str, value: Value) -> String {
        found("Deployment", |it| set(it, &format!("{SERVER}/{field}"), value))
    }

    #[test]
    fn every_probe_is_there_and_waits_for_a_busy_server() {
        for name in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let missing = found("Deployment", |it| remove(it, &format!("{SERVER}/{name}")));
            assert!(
                missing.contains(&format!(
                    "[probe-missing] Deployment/caravan-stable spec.template.spec.containers[server].{name}"
                )),
                "{missing}"
            );
            let hasty = found("Deployment", |it| remove(it, &format!("{SERVER}/{name}/timeoutSeconds")));
            assert!(hasty.starts_with("[probe-timeout]") && hasty.contains("within 1 s"), "{hasty}");
        }
        insta::assert_snapshot!(server("livenessProbe/failureThreshold", json!(2)), @"[liveness-too-strict] Deployment/caravan-stable spec.template.spec.containers[server].livenessProbe: a busy server is killed after 40 s");
        insta::assert_snapshot!(server("startupProbe/failureThreshold", json!(30)), @"[startup-too-short] Deployment/caravan-stable spec.template.spec.containers[server].startupProbe: a model has 300 s to load, and then the pod is killed");
        insta::assert_snapshot!(server("startupProbe/failureThreshold", json!(300)), @"[deadline-below-startup] Deployment/caravan-stable spec.progressDeadlineSeconds: a roll-out counts as failed after 2100 s, and a pod may take 3000 s to start");
        insta::assert_snapshot!(found("Deployment", |it| remove(it, "/spec/progressDeadlineSeconds")), @"[deadline-below-startup] Deployment/caravan-stable spec.progressDeadlineSeconds: a roll-out counts as failed after 600 s, and a pod may take 1800 s to start");
    }

    #[test]
    fn a_pod_lives_long_enough_to_drain() {
        insta::assert_snapshot!(found("Deployment", |it| remove(it, "/spec/template/spec/terminationGracePeriodSeconds")), @"[grace-too-short] Deployment/caravan-stable spec.template.spec.terminationGracePeriodSeconds: the pod is killed after 30 s, and draining may take 78 s: 10 s pause, 60 s `--grace`, 8 s to end");
        insta::assert_snapshot!(server("args", json!(["--grace", "100", "--", "--grace=1"])), @"[grace-too-short] Deployment/caravan-stable spec.template.spec.terminationGracePeriodSeconds: the pod is killed after 90 s, and draining may take 118 s: 10 s pause, 100 s `--grace`, 8 s to end");
        insta::assert_snapshot!(found("Deployment", |it| remove(it, &format!("{SERVER}/lifecycle"))), @"[no-pause] Deployment/caravan-stable spec.template.spec.containers[server].lifecycle.preStop: the server ends before every node knows that it gets no new requests");
        assert_eq!(server("args", json!(["--", "--grace=1000"])), "", "what is for llama-server is not for us");
        assert_eq!(
            found("Deployment", |it| set(it, "/spec/template/spec/terminationGracePeriodSeconds", json!(78))),
            ""
        );
    }
}
