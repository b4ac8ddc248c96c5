//! What a pod may do, which bytes it runs, and that it holds no key to the cluster.

use serde_json::{Value, json};

use crate::k8s::finding::Finding;
use crate::k8s::object::{Container, Object, Pod, items, text};

/// The rule about images that do not exist yet.
pub(crate) const NOT_PUBLISHED: &str = "image-not-published";

pub(super) fn check(objects: &[Object]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pod in objects.iter().filter_map(Object::pod) {
        findings.extend(of_pod(objects, &pod));
        for container in pod.containers() {
            findings.extend(of_container(&pod, &container));
            findings.extend(image(&pod, &format!("{}.image", container.path), text(container.value, "/image")));
        }
        for volume in items(pod.spec, "/volumes").filter(|volume| volume.get("image").is_some()) {
            let path = format!("{}.volumes[{}].image.reference", pod.path, text(volume, "/name"));
            findings.extend(image(&pod, &path, text(volume, "/image/reference")));
        }
    }
    findings
}

fn of_pod(objects: &[Object], pod: &Pod<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let error = |rule, field: &str, why: &str| Finding::error(rule, pod.object, format!("{}.{field}", pod.path), why);
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod.spec.get(field) == Some(&json!(true)) {
            findings.push(error("host-shared", field, "the pod shares this with its node"));
        }
    }
    let account = text(pod.spec, "/serviceAccountName");
    let account = objects.iter().find(|object| object.kind() == "ServiceAccount" && object.name() == account);
    let of_account = account.and_then(|account| account.at("/automountServiceAccountToken"));
    // The pod's own word counts, then its account's; silence means that a token is mounted.
    let mounts = pod.spec.get("automountServiceAccountToken").or(of_account).unwrap_or(&Value::Null);
    if *mounts != json!(false) {
        let why = "a token for the cluster's API is mounted, and the server needs none";
        findings.push(error("token-mounted", "automountServiceAccountToken", why).hint("set it to `false`"));
    }
    if pod.spec.get("enableServiceLinks") != Some(&json!(false)) {
        let why = "variables of Services are set, and one that is named `caravan` sets `CARAVAN_PORT`";
        findings.push(error("service-links", "enableServiceLinks", why).hint("set it to `false`"));
    }
    findings
}

fn of_container(pod: &Pod<'_>, container: &Container<'_>) -> Vec<Finding> {
    let own = |field: &str| container.at(&format!("/securityContext/{field}"));
    let either = |field: &str| own(field).or_else(|| pod.spec.pointer(&format!("/securityContext/{field}")));
    let (yes, no) = (json!(true), json!(false));
    let mut findings = Vec::new();
    let mut demand = |is_met: bool, rule, field: &str, why: &str| {
        if !is_met {
            let path = format!("{}.securityContext.{field}", container.path);
            findings.push(Finding::error(rule, pod.object, path, why));
        }
    };
    demand(either("runAsNonRoot") == Some(&yes), "runs-as-root", "runAsNonRoot", "it must be `true`");
    let is_somebody = either("runAsUser").and_then(Value::as_u64).is_some_and(|user| user != 0);
    demand(is_somebody, "runs-as-root", "runAsUser", "it must be a user that is not root, as a number");
    let read_only = own("readOnlyRootFilesystem") == Some(&yes);
    demand(read_only, "writable-root", "readOnlyRootFilesystem", "it must be `true`");
    let escalates = own("allowPrivilegeEscalation") != Some(&no);
    demand(!escalates, "privileges", "allowPrivilegeEscalation", "it must be `false`");
    demand(own("privileged") != Some(&yes), "privileges", "privileged", "it must not be `true`");
    let drops_all = items(container.value, "/securityContext/capabilities/drop").any(|it| it == "ALL");
    demand(drops_all, "capabilities", "capabilities.drop", "it must hold `ALL`");
    let adds = items(container.value, "/securityContext/capabilities/add").next().is_some();
    demand(!adds, "capabilities", "capabilities.add", "the server needs no capability");
    let profile = either("seccompProfile").map(|profile| text(profile, "/type")).unwrap_or_default();
    let is_confined = ["RuntimeDefault", "Localhost"].contains(&profile);
    demand(is_confined, "seccomp", "seccompProfile.type", "it must be `RuntimeDefault`");
    findings
}

/// An image must be named by its digest.
fn image(pod: &Pod<'_>, path: &str, image: &str) -> Option<Finding> {
    let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
    let is_digest = |digest: &str| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    match digest {
        Some(digest) if is_digest(digest) && digest.bytes().all(|byte| byte == b'0') => {
            let name = image.split('@').next().unwrap_or_default();
            let why = format!("not published yet: the digest of `{name}` is a placeholder, and no cluster can pull it");
            let hint = "`cargo xtask k8s render OVERLAY --image NAME@sha256:..` sets the server's image; \
                        an overlay of yours sets the model's";
            Some(Finding::error(NOT_PUBLISHED, pod.object, path, why).note().hint(hint))
        }
        Some(digest) if is_digest(digest) => None,
        _ => {
            let why = format!("`{image}` is not named by a digest, and may be another one tomorrow");
            Some(Finding::error("image-not-pinned", pod.object, path, why).hint("write `NAME@sha256:..`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::k8s::rules::check;
    use crate::k8s::rules::tests::{found, lines, of_kind, remove, set, stable};

    const POD: &str = "/spec/template/spec";
    const CONTAINER: &str = "/spec/template/spec/containers/0/securityContext";

    fn pod(field: &str, value: Value) -> String {
        found("Deployment", |it| set(it, &format!("{POD}/{field}"), value))
    }

    fn container(field: &str, value: Value) -> String {
        found("Deployment", |it| set(it, &format!("{CONTAINER}/{field}"), value))
    }

    #[test]
    fn nothing_runs_as_root() {
        insta::assert_snapshot!(pod("securityContext/runAsNonRoot", json!(false)), @"[runs-as-root] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.runAsNonRoot: it must be `true`");
        insta::assert_snapshot!(container("runAsUser", json!(0)), @"[runs-as-root] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.runAsUser: it must be a user that is not root, as a number");
        insta::assert_snapshot!(found("Deployment", |it| remove(it, &format!("{POD}/securityContext"))), @r"
[runs-as-root] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.runAsNonRoot: it must be `true`
[runs-as-root] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.runAsUser: it must be a user that is not root, as a number
[seccomp] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.seccompProfile.type: it must be `RuntimeDefault`
");
        assert_eq!(container("runAsUser", json!(1000)), "");
    }

    #[test]
    fn the_root_file_system_is_read_only_and_no_privilege_is_left() {
        insta::assert_snapshot!(container("readOnlyRootFilesystem", json!(false)), @"[writable-root] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.readOnlyRootFilesystem: it must be `true`");
        insta::assert_snapshot!(container("allowPrivilegeEscalation", json!(true)), @"[privileges] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.allowPrivilegeEscalation: it must be `false`");
        insta::assert_snapshot!(container("privileged", json!(true)), @"[privileges] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.privileged: it must not be `true`");
        insta::assert_snapshot!(container("capabilities", json!({"drop": ["NET_RAW"], "add": ["IPC_LOCK"]})), @r"
[capabilities] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.capabilities.add: the server needs no capability
[capabilities] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.capabilities.drop: it must hold `ALL`
");
        insta::assert_snapshot!(container("seccompProfile", json!({"type": "Unconfined"})), @"[seccomp] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.seccompProfile.type: it must be `RuntimeDefault`");
        insta::assert_snapshot!(found("Deployment", |it| remove(it, CONTAINER)), @r"
[capabilities] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.capabilities.drop: it must hold `ALL`
[privileges] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.allowPrivilegeEscalation: it must be `false`
[writable-root] Deployment/caravan-stable spec.template.spec.containers[server].securityContext.readOnlyRootFilesystem: it must be `true`
");
    }

    #[test]
    fn nothing_of_the_node_or_the_cluster_is_shared() {
        insta::assert_snapshot!(pod("hostNetwork", json!(true)), @"[host-shared] Deployment/caravan-stable spec.template.spec.hostNetwork: the pod shares this with its node");
        insta::assert_snapshot!(pod("enableServiceLinks", json!(true)), @"[service-links] Deployment/caravan-stable spec.template.spec.enableServiceLinks: variables of Services are set, and one that is named `caravan` sets `CARAVAN_PORT`");
        insta::assert_snapshot!(pod("automountServiceAccountToken", json!(true)), @"[token-mounted] Deployment/caravan-stable spec.template.spec.automountServiceAccountToken: a token for the cluster's API is mounted, and the server needs none");
        let silent = |account: bool| {
            let mut objects = stable();
            remove(of_kind(&mut objects, "Deployment"), &format!("{POD}/automountServiceAccountToken"));
            if !account {
                remove(of_kind(&mut objects, "ServiceAccount"), "/automountServiceAccountToken");
            }
            lines(&objects)
        };
        assert_eq!(silent(true), "", "the account's word counts too");
        assert!(silent(false).starts_with("[token-mounted]"), "{}", silent(false));
    }

    #[test]
    fn images_are_named_by_a_digest_that_exists() {
        insta::assert_snapshot!(found("Deployment", |it| {
            let volume = json!({"name": "model", "image": {"reference": "registry.example/model:1"}});
            *it.pointer_mut(&format!("{POD}/volumes/0")).unwrap() = volume;
        }), @"[image-not-pinned] Deployment/caravan-stable spec.template.spec.volumes[model].image.reference: `registry.example/model:1` is not named by a digest, and may be another one tomorrow");
        for name in ["caravan", "a:1", "a@sha256:00", "a@sha256:zz", "", &format!("a@sha256:{}", "g".repeat(64))] {
            let mut objects = stable();
            set(of_kind(&mut objects, "Deployment"), &format!("{POD}/containers/0/image"), json!(name));
            assert!(lines(&objects).starts_with("[image-not-pinned]"), "{name}");
        }
        let mut objects = stable();
        let real = format!("registry.example/a@sha256:{}", "a1".repeat(32));
        set(of_kind(&mut objects, "Deployment"), &format!("{POD}/containers/0/image"), json!(real));
        assert_eq!(check(&objects), []);
    }
}
