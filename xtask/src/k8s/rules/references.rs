//! What one object says of another: whether selectors select, volumes exist, and an autoscaler has something to scale.

use serde_json::{Value, json};

use crate::k8s::finding::Finding;
use crate::k8s::object::{Container, Object, Pod, items, text};

pub(super) fn check(objects: &[Object]) -> Vec<Finding> {
    let pods: Vec<Pod<'_>> = objects.iter().filter_map(Object::pod).collect();
    let mut findings = Vec::new();
    for object in objects {
        match object.kind() {
            "Service" => findings.extend(service(object, &pods)),
            "PodDisruptionBudget" => findings.extend(budget(object, &pods)),
            "NetworkPolicy" => findings.extend(policy(object, &pods)),
            "HorizontalPodAutoscaler" => findings.extend(autoscaler(object, objects)),
            _ => {}
        }
    }
    for pod in &pods {
        findings.extend(own_labels(pod));
        findings.extend(probes(pod));
        findings.extend(unprotected(pod, objects));
        findings.extend(volumes(pod, objects));
    }
    findings
}

fn service(service: &Object, pods: &[Pod<'_>]) -> Vec<Finding> {
    let selected: Vec<_> = pods.iter().filter(|pod| pod.is_selected_by(service.at("/spec/selector"))).collect();
    if selected.is_empty() {
        return vec![Finding::error("selects-nothing", service, "spec.selector", "no pod has these labels")];
    }
    items(service.value(), "/spec/ports")
        .filter_map(|port| {
            let target = port.get("targetPort").or_else(|| port.get("port"))?;
            let path = format!("spec.ports[{}].targetPort", text(port, "/name"));
            closed(service, path, target, selected.iter().copied())
        })
        .collect()
}

/// A port that some of these pods do not have.
fn closed<'a>(object: &Object, path: String, port: &Value, pods: impl Iterator<Item = &'a Pod<'a>>) -> Option<Finding> {
    let mut pods = pods.filter(|pod| !pod.containers().any(|container| has_port(&container, port)));
    let pod = pods.next()?;
    let why = format!("no container of {} has the port {port}", pod.object.label());
    Some(Finding::error("no-such-port", object, path, why))
}

fn has_port(container: &Container<'_>, wanted: &Value) -> bool {
    items(container.value, "/ports")
        .any(|port| port.get("name") == Some(wanted) || port.get("containerPort") == Some(wanted))
}

fn budget(budget: &Object, pods: &[Pod<'_>]) -> Option<Finding> {
    let selector = budget.at("/spec/selector/matchLabels");
    let Some(pod) = pods.iter().find(|pod| pod.is_selected_by(selector)) else {
        return Some(Finding::error("selects-nothing", budget, "spec.selector", "no pod has these labels"));
    };
    let replicas = pod.object.at("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let field = |name: &str| budget.at(&format!("/spec/{name}"));
    let (unavailable, available) = (field("maxUnavailable"), field("minAvailable"));
    let is_none = unavailable.is_some_and(|value| *value == json!(0) || *value == json!("0%"));
    let is_all = available.is_some_and(|value| match value {
        Value::Number(number) => number.as_u64().is_some_and(|number| number >= replicas),
        other => *other == json!("100%"),
    });
    (is_none || is_all).then(|| {
        Finding::error("blocks-evictions", budget, "spec", "no pod may ever be evicted: a node cannot be drained")
            .hint("`maxUnavailable: 1`")
    })
}

fn policy(policy: &Object, pods: &[Pod<'_>]) -> Vec<Finding> {
    let selector = policy.at("/spec/podSelector/matchLabels");
    let selected: Vec<_> = pods.iter().filter(|pod| pod.is_selected_by(selector)).collect();
    if selected.is_empty() {
        let why = "it selects no pod of ours, or every pod of the namespace";
        return vec![Finding::error("selects-nothing", policy, "spec.podSelector", why)];
    }
    let ports = items(policy.value(), "/spec/ingress").flat_map(|rule| items(rule, "/ports"));
    let path = || "spec.ingress.ports".to_owned();
    ports.filter_map(|port| closed(policy, path(), port.get("port")?, selected.iter().copied())).collect()
}

/// Several replicas need a budget, or a node that is drained takes them all.
fn unprotected(pod: &Pod<'_>, objects: &[Object]) -> Option<Finding> {
    let is_scaled = objects.iter().any(|object| {
        object.kind() == "HorizontalPodAutoscaler"
            && object.at("/spec/scaleTargetRef/name") == pod.object.at("/metadata/name")
    });
    let replicas = pod.object.at("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let mut budgets = objects.iter().filter(|object| object.kind() == "PodDisruptionBudget");
    let is_protected = budgets.any(|budget| pod.is_selected_by(budget.at("/spec/selector/matchLabels")));
    (pod.object.kind() == "Deployment" && (is_scaled || replicas > 1) && !is_protected).then(|| {
        let why = "it has several replicas, and no PodDisruptionBudget keeps one of them";
        Finding::error("no-budget", pod.object, "spec.replicas", why)
    })
}

/// Probes ask ports that their own container has.
fn probes(pod: &Pod<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for container in pod.containers() {
        for name in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let asked = ["httpGet", "tcpSocket"].iter().find_map(|kind| container.at(&format!("/{name}/{kind}/port")));
            if let Some(port) = asked.filter(|port| !has_port(&container, port)) {
                let why = format!("the container has no port {port}");
                findings.push(Finding::error("no-such-port", pod.object, format!("{}.{name}", container.path), why));
            }
        }
    }
    findings
}

fn autoscaler(autoscaler: &Object, objects: &[Object]) -> Option<Finding> {
    let error = |rule, path: &str, why: &str| Some(Finding::error(rule, autoscaler, path, why));
    let (kind, name) =
        (text(autoscaler.value(), "/spec/scaleTargetRef/kind"), text(autoscaler.value(), "/spec/scaleTargetRef/name"));
    let Some(target) = objects.iter().find(|object| object.kind() == kind && object.name() == name) else {
        return error("selects-nothing", "spec.scaleTargetRef", "there is no such object");
    };
    if target.at("/spec/replicas").is_some() {
        let why = "an autoscaler sets it, and every `apply` would set it back";
        return Some(Finding::error("replicas-set-twice", target, "spec.replicas", why).hint("leave it out"));
    }
    let number = |name: &str| autoscaler.at(&format!("/spec/{name}")).and_then(Value::as_u64);
    let (least, most) = (number("minReplicas").unwrap_or(1), number("maxReplicas").unwrap_or(0));
    (least > most)
        .then(|| Finding::error("replicas-unfit", autoscaler, "spec.minReplicas", "it is above `maxReplicas`"))
}

/// Where a workload selects its own pods.
fn own_labels(pod: &Pod<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let error =
        |path: String| Finding::error("selects-nothing", pod.object, path, "its own pods do not have these labels");
    let has_selector = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"].contains(&pod.object.kind());
    if has_selector && !pod.is_selected_by(pod.object.at("/spec/selector/matchLabels")) {
        findings.push(error("spec.selector".to_owned()));
    }
    for spread in items(pod.spec, "/topologySpreadConstraints") {
        if !pod.is_selected_by(spread.pointer("/labelSelector/matchLabels")) {
            let key = text(spread, "/topologyKey");
            findings.push(error(format!("{}.topologySpreadConstraints[{key}].labelSelector", pod.path)));
        }
    }
    findings
}

fn volumes(pod: &Pod<'_>, objects: &[Object]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_there = |kind: &str, name: &str| objects.iter().any(|it| it.kind() == kind && it.name() == name);
    for volume in items(pod.spec, "/volumes") {
        let path = format!("{}.volumes[{}]", pod.path, text(volume, "/name"));
        let sources: Vec<_> =
            volume.as_object().into_iter().flat_map(|it| it.keys()).filter(|it| *it != "name").collect();
        if sources.len() != 1 {
            let why = format!("it has {} sources, and must have one", sources.len());
            let hint = "a volume of a base is replaced with `$patch: replace`";
            findings.push(Finding::error("volume-unclear", pod.object, path.clone(), why).hint(hint));
        }
        if let Some(name) = volume.pointer("/configMap/name").and_then(Value::as_str)
            && !is_there("ConfigMap", name)
            && volume.pointer("/configMap/optional") != Some(&json!(true))
        {
            let why = format!("there is no ConfigMap `{name}` here");
            findings.push(Finding::error("config-missing", pod.object, format!("{path}.configMap"), why));
        }
    }
    for container in pod.containers() {
        for mount in items(container.value, "/volumeMounts") {
            let name = text(mount, "/name");
            if !items(pod.spec, "/volumes").any(|volume| text(volume, "/name") == name) {
                let path = format!("{}.volumeMounts[{name}]", container.path);
                let finding =
                    Finding::error("volume-missing", pod.object, path, format!("there is no volume `{name}`"));
                let hint = "a component brings the model: `../../components/model-pvc` or `model-image`";
                findings.push(if name == "model" { finding.hint(hint) } else { finding });
            }
        }
    }
    let account = text(pod.spec, "/serviceAccountName");
    if !account.is_empty() && account != "default" && !is_there("ServiceAccount", account) {
        let why = format!("there is no ServiceAccount `{account}` here");
        let path = format!("{}.serviceAccountName", pod.path);
        findings.push(Finding::error("account-missing", pod.object, path, why));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::k8s::object;
    use crate::k8s::rules::tests::{found, lines, of_kind, remove, set, stable};

    #[test]
    fn selectors_select() {
        for (kind, labels) in [
            ("Service", "/spec/selector"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("Deployment", "/spec/selector/matchLabels"),
            ("Deployment", "/spec/template/spec/topologySpreadConstraints/0/labelSelector/matchLabels"),
        ] {
            let labels = |it: &mut serde_json::Value| {
                it.pointer_mut(labels).unwrap().as_object_mut().unwrap().insert("other".to_owned(), json!("label"));
            };
            let found = found(kind, labels);
            let expected = format!("[selects-nothing] {kind}/caravan-stable ");
            let found: Vec<_> = found.lines().filter(|line| !line.starts_with("[no-budget]")).collect();
            assert!(found.len() == 1 && found[0].starts_with(&expected), "{kind}: {found:?}");
        }
        insta::assert_snapshot!(found("NetworkPolicy", |it| set(it, "/spec/podSelector", json!({}))), @"[selects-nothing] NetworkPolicy/caravan-stable spec.podSelector: it selects no pod of ours, or every pod of the namespace");
        insta::assert_snapshot!(found("Service", |it| remove(it, "/spec/selector")), @"[selects-nothing] Service/caravan-stable spec.selector: no pod has these labels");
    }

    #[test]
    fn a_service_leads_to_a_port() {
        insta::assert_snapshot!(found("Service", |it| set(it, "/spec/ports/0/targetPort", json!(8081))), @"[no-such-port] Service/caravan-stable spec.ports[http].targetPort: no container of Deployment/caravan-stable has the port 8081");
        assert_eq!(found("Service", |it| set(it, "/spec/ports/0/targetPort", json!(8080))), "");
    }

    #[test]
    fn probes_and_policies_name_ports_that_are_there() {
        let named = |kind: &str, pointer: &str| found(kind, |it| *it.pointer_mut(pointer).unwrap() = json!("https"));
        insta::assert_snapshot!(named("Deployment", "/spec/template/spec/containers/0/livenessProbe/httpGet/port"), @r#"[no-such-port] Deployment/caravan-stable spec.template.spec.containers[server].livenessProbe: the container has no port "https""#);
        insta::assert_snapshot!(named("NetworkPolicy", "/spec/ingress/0/ports/0/port"), @r#"[no-such-port] NetworkPolicy/caravan-stable spec.ingress.ports: no container of Deployment/caravan-stable has the port "https""#);
    }

    #[test]
    fn several_replicas_have_a_budget() {
        let mut objects = stable();
        objects.retain(|object| object.kind() != "PodDisruptionBudget");
        insta::assert_snapshot!(lines(&objects), @"[no-budget] Deployment/caravan-stable spec.replicas: it has several replicas, and no PodDisruptionBudget keeps one of them");
        set(of_kind(&mut objects, "Deployment"), "/spec/replicas", json!(1));
        assert_eq!(lines(&objects), "");
    }

    #[test]
    fn a_node_can_be_drained() {
        for (field, value) in
            [("maxUnavailable", json!(0)), ("minAvailable", json!(3)), ("minAvailable", json!("100%"))]
        {
            let found = found("PodDisruptionBudget", |it| {
                remove(it, "/spec/maxUnavailable");
                set(it, &format!("/spec/{field}"), value);
            });
            insta::allow_duplicates! { insta::assert_snapshot!(found, @"[blocks-evictions] PodDisruptionBudget/caravan-stable spec: no pod may ever be evicted: a node cannot be drained") }
        }
        assert_eq!(
            found("PodDisruptionBudget", |it| {
                remove(it, "/spec/maxUnavailable");
                set(it, "/spec/minAvailable", json!(2));
            }),
            ""
        );
    }

    #[test]
    fn an_autoscaler_has_a_target_that_leaves_the_replicas_to_it() {
        let with = |target: &str, least: u64, keeps: bool| {
            let mut objects = stable();
            if !keeps {
                remove(of_kind(&mut objects, "Deployment"), "/spec/replicas");
            }
            let text = format!(
                "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: a}}\n\
                 spec: {{scaleTargetRef: {{kind: Deployment, name: {target}}}, minReplicas: {least}, maxReplicas: 4}}\n"
            );
            objects.extend(object::parse(&text).unwrap());
            lines(&objects)
        };
        assert_eq!(with("caravan-stable", 3, false), "");
        insta::assert_snapshot!(with("caravan-stable", 3, true), @"[replicas-set-twice] Deployment/caravan-stable spec.replicas: an autoscaler sets it, and every `apply` would set it back");
        insta::assert_snapshot!(with("caravan", 3, false), @"[selects-nothing] HorizontalPodAutoscaler/a spec.scaleTargetRef: there is no such object");
        insta::assert_snapshot!(with("caravan-stable", 5, false), @"[replicas-unfit] HorizontalPodAutoscaler/a spec.minReplicas: it is above `maxReplicas`");
    }

    #[test]
    fn every_volume_has_one_source_and_every_mount_a_volume() {
        const VOLUMES: &str = "/spec/template/spec/volumes";
        insta::assert_snapshot!(found("Deployment", |it| {
            set(it, &format!("{VOLUMES}/2/configMap"), json!({"name": "other"}));
        }), @r"
[config-missing] Deployment/caravan-stable spec.template.spec.volumes[tmp].configMap: there is no ConfigMap `other` here
[volume-unclear] Deployment/caravan-stable spec.template.spec.volumes[tmp]: it has 2 sources, and must have one
");
        insta::assert_snapshot!(found("Deployment", |it| {
            it.pointer_mut(VOLUMES).unwrap().as_array_mut().unwrap().remove(0);
        }), @"[volume-missing] Deployment/caravan-stable spec.template.spec.containers[server].volumeMounts[model]: there is no volume `model`");
        insta::assert_snapshot!(found("Deployment", |it| set(it, "/spec/template/spec/serviceAccountName", json!("other"))), @"[account-missing] Deployment/caravan-stable spec.template.spec.serviceAccountName: there is no ServiceAccount `other` here");
    }
}
