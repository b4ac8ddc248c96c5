//! What one object says of another: whether selectors select, volumes exist, and an autoscaler has something to scale.

use serde_json::{Value, json};

use crate::k8s::finding::Finding;
use crate::k8s::object::{Object, Pod, items, text};

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
        findings.extend(volumes(pod, objects));
    }
    findings
}

fn service(service: &Object, pods: &[Pod<'_>]) -> Vec<Finding> {
    let selected: Vec<_> = pods.iter().filter(|pod| pod.is_selected_by(service.at("/spec/selector"))).collect();
    if selected.is_empty() {
        return vec![Finding::error("selects-nothing", service, "spec.selector", "no pod has these labels")];
    }
    let is_open = |wanted: &Value| {
        selected.iter().all(|pod| {
            pod.containers().any(|container| {
                items(container.value, "/ports")
                    .any(|port| port.get("name") == Some(wanted) || port.get("containerPort") == Some(wanted))
            })
        })
    };
    items(service.value(), "/spec/ports")
        .filter_map(|port| {
            let target = port.get("targetPort").or_else(|| port.get("port"))?;
            (!is_open(target)).then(|| {
                let path = format!("spec.ports[{}].targetPort", text(port, "/name"));
                Finding::error("no-such-port", service, path, format!("no container has the port {target}"))
            })
        })
        .collect()
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

fn policy(policy: &Object, pods: &[Pod<'_>]) -> Option<Finding> {
    let selector = policy.at("/spec/podSelector/matchLabels");
    let is_used = pods.iter().any(|pod| pod.is_selected_by(selector));
    (!is_used).then(|| {
        let why = "it selects no pod of ours, or every pod of the namespace";
        Finding::error("selects-nothing", policy, "spec.podSelector", why)
    })
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
            assert!(found.starts_with(&expected) && found.lines().count() == 1, "{kind}: {found}");
        }
        insta::assert_snapshot!(found("NetworkPolicy", |it| set(it, "/spec/podSelector", json!({}))), @"[selects-nothing] NetworkPolicy/caravan-stable spec.podSelector: it selects no pod of ours, or every pod of the namespace");
        insta::assert_snapshot!(found("Service", |it| remove(it, "/spec/selector")), @"[selects-nothing] Service/caravan-stable spec.selector: no pod has these labels");
    }

    #[test]
    fn a_service_leads_to_a_port() {
        insta::assert_snapshot!(found("Service", |it| set(it, "/spec/ports/0/targetPort", json!(8081))), @"[no-such-port] Service/caravan-stable spec.ports[http].targetPort: no container has the port 8081");
        assert_eq!(found("Service", |it| set(it, "/spec/ports/0/targetPort", json!(8080))), "");
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
