//! Requests and limits: both, of CPU and memory, and equal where a pod claims CPUs of its own.

use serde_json::Value;

use crate::k8s::finding::Finding;
use crate::k8s::object::{Container, Object, Pod, text};
use crate::k8s::quantity;

/// The annotation by which a workload claims a class of service.
const QOS: &str = "/metadata/annotations/caravan.dev~1qos";

/// Reads a quantity.
type Read = fn(&Value) -> Option<u64>;

const RESOURCES: [(&str, Read); 2] = [("cpu", quantity::millicpus), ("memory", quantity::bytes)];

pub(super) fn check(objects: &[Object]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pod in objects.iter().filter_map(Object::pod) {
        let is_guaranteed = text(pod.object.value(), QOS) == "guaranteed";
        for container in pod.containers() {
            for (name, read) in RESOURCES {
                findings.extend(resource(&pod, &container, name, read, is_guaranteed));
            }
        }
    }
    findings
}

fn resource(pod: &Pod<'_>, container: &Container<'_>, name: &str, read: Read, is_guaranteed: bool) -> Option<Finding> {
    let path = |kind: &str| format!("{}.resources.{kind}.{name}", container.path);
    let value = |kind: &str| container.at(&format!("/resources/{kind}/{name}"));
    let error = |rule, kind: &str, why: String| Some(Finding::error(rule, pod.object, path(kind), why));
    for kind in ["requests", "limits"] {
        match value(kind) {
            None => {
                let hint = match name {
                    "cpu" => "the server counts its threads by the CPU limit",
                    _ => "the server sizes its caches by the memory limit",
                };
                return error("resources-missing", kind, "it is not set".to_owned()).map(|found| found.hint(hint));
            }
            Some(found) if read(found).is_none_or(|amount| amount == 0) => {
                return error("resources-invalid", kind, format!("`{found}` is no amount of {name}"));
            }
            Some(_) => {}
        }
    }
    let (request, limit) = (value("requests").and_then(read)?, value("limits").and_then(read)?);
    if request > limit {
        return error("request-above-limit", "requests", "it is above the limit".to_owned());
    }
    if is_guaranteed && request != limit {
        let why = "the workload claims to be guaranteed, and this request is not the limit".to_owned();
        return error("not-guaranteed", "requests", why);
    }
    if is_guaranteed && name == "cpu" && limit % 1000 != 0 {
        let why = "the workload claims to be guaranteed, and this is no whole number of CPUs".to_owned();
        let found = error("not-guaranteed", "limits", why);
        return found.map(|found| found.hint("the kubelet gives CPUs of its own only to pods that ask for whole ones"));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::k8s::rules::tests::{found, lines, of_kind, remove, research, set};

    const RESOURCES: &str = "/spec/template/spec/containers/0/resources";

    fn changed(name: &str, value: &str) -> String {
        found("Deployment", |it| set(it, &format!("{RESOURCES}/{name}"), json!(value)))
    }

    #[test]
    fn cpu_and_memory_have_requests_and_limits() {
        for name in ["requests/cpu", "requests/memory", "limits/cpu", "limits/memory"] {
            let found = found("Deployment", |it| remove(it, &format!("{RESOURCES}/{name}")));
            let path = name.replace('/', ".");
            let expected = format!(
                "[resources-missing] Deployment/caravan-stable spec.template.spec.containers[server].resources.{path}: it is not set\n"
            );
            assert_eq!(found, expected);
        }
        insta::assert_snapshot!(changed("limits/memory", "14GB"), @r#"[resources-invalid] Deployment/caravan-stable spec.template.spec.containers[server].resources.limits.memory: `"14GB"` is no amount of memory"#);
        insta::assert_snapshot!(changed("limits/memory", "0"), @r#"[resources-invalid] Deployment/caravan-stable spec.template.spec.containers[server].resources.limits.memory: `"0"` is no amount of memory"#);
    }

    #[test]
    fn a_request_is_at_most_the_limit() {
        insta::assert_snapshot!(changed("requests/cpu", "8001m"), @"[request-above-limit] Deployment/caravan-stable spec.template.spec.containers[server].resources.requests.cpu: it is above the limit");
        insta::assert_snapshot!(changed("requests/memory", "15Gi"), @"[request-above-limit] Deployment/caravan-stable spec.template.spec.containers[server].resources.requests.memory: it is above the limit");
        assert_eq!(changed("requests/memory", "14336Mi"), "");
    }

    #[test]
    fn who_claims_to_be_guaranteed_is() {
        let changed = |changes: &[(&str, &str)]| {
            let mut objects = research();
            for (name, value) in changes {
                set(of_kind(&mut objects, "Deployment"), &format!("{RESOURCES}/{name}"), json!(value));
            }
            lines(&objects)
        };
        insta::assert_snapshot!(changed(&[("requests/cpu", "15")]), @"[not-guaranteed] Deployment/caravan-research spec.template.spec.containers[server].resources.requests.cpu: the workload claims to be guaranteed, and this request is not the limit");
        insta::assert_snapshot!(changed(&[("requests/memory", "8Gi")]), @"[not-guaranteed] Deployment/caravan-research spec.template.spec.containers[server].resources.requests.memory: the workload claims to be guaranteed, and this request is not the limit");
        insta::assert_snapshot!(changed(&[("requests/cpu", "16500m"), ("limits/cpu", "16500m")]), @"[not-guaranteed] Deployment/caravan-research spec.template.spec.containers[server].resources.limits.cpu: the workload claims to be guaranteed, and this is no whole number of CPUs");
    }
}
