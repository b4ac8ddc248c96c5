//! Our rules: what the API's schema allows, and a server of ours must not do.
//!
//! | module | job |
//! |---|---|
//! | `threads` | thread counts against CPU limits, and how they reach the server |
//! | `resources` | requests and limits |
//! | `security` | what a pod may do, and which bytes it runs |
//! | `lifecycle` | probes, draining |
//! | `references` | selectors, volumes, ports, autoscalers: whether they mean something |
//!
//! Every rule looks at all objects of one rendering, and at nothing else.

mod lifecycle;
mod references;
mod resources;
mod security;
mod threads;

pub(crate) use security::NOT_PUBLISHED;

use super::finding::Finding;
use super::object::{Container, Object, items, text};

/// What every rule says of the objects of one rendering, sorted.
pub(crate) fn check(objects: &[Object]) -> Vec<Finding> {
    let rules = [threads::check, resources::check, security::check, lifecycle::check, references::check];
    let mut findings: Vec<_> = rules.iter().flat_map(|rule| rule(objects)).collect();
    findings.extend(nothing_served(objects));
    findings.sort();
    findings
}

/// Whether a container runs `caravan serve`: by its command, or, where the image's own is run, by its name or our variables.
fn is_server(container: &Container<'_>) -> bool {
    match text(container.value, "/command/0") {
        "" => {
            let is_ours = |variable| text(variable, "/name").starts_with("CARAVAN_");
            text(container.value, "/name") == "server" || items(container.value, "/env").any(is_ours)
        }
        command => command.rsplit('/').next() == Some("caravan"),
    }
}

/// Rules about a server say nothing where there is none.
fn nothing_served(objects: &[Object]) -> Option<Finding> {
    let mut pods = objects.iter().filter_map(Object::pod);
    let is_served = pods.any(|pod| pod.containers().any(|container| is_server(&container)));
    let first = objects.first().filter(|_| !is_served)?;
    Some(Finding::error("no-server", first, "", "no container here or elsewhere runs `caravan serve`"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::k8s::finding::Severity;
    use crate::k8s::object;

    /// What kustomize makes of our overlays; `tests/k8s.rs` keeps them.
    const STABLE: &str = include_str!("../../../tests/snapshots/k8s__stable.snap");
    const RESEARCH: &str = include_str!("../../../tests/snapshots/k8s__research.snap");

    fn objects(snapshot: &str) -> Vec<Object> {
        object::parse(snapshot.splitn(3, "---\n").nth(2).expect("a snapshot has a header")).unwrap()
    }

    /// The stable overlay, in which everything is as it must be.
    pub(super) fn stable() -> Vec<Object> {
        objects(STABLE)
    }

    pub(super) fn research() -> Vec<Object> {
        objects(RESEARCH)
    }

    pub(super) fn of_kind<'a>(objects: &'a mut [Object], kind: &str) -> &'a mut Value {
        objects.iter_mut().find(|object| object.kind() == kind).expect("there is one").value_mut()
    }

    /// What is found in the stable overlay after the first object of a kind was changed, one line for each.
    pub(super) fn found(kind: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut objects = stable();
        change(of_kind(&mut objects, kind));
        lines(&objects)
    }

    /// All that is found but what is true of our overlays too.
    pub(super) fn lines(objects: &[Object]) -> String {
        let mut findings = check(objects);
        findings.retain(|finding| finding.rule != NOT_PUBLISHED);
        findings.iter().map(|it| format!("[{}] {} {}: {}\n", it.rule, it.object, it.path, it.why)).collect()
    }

    /// What stands at a pointer of the only container; it is made when it is not there.
    pub(super) fn set(object: &mut Value, pointer: &str, value: Value) {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        let parent = object.pointer_mut(parent).expect("its parent is there");
        parent.as_object_mut().expect("a map").insert(name.to_owned(), value);
    }

    pub(super) fn remove(object: &mut Value, pointer: &str) {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        let parent = object.pointer_mut(parent).expect("its parent is there");
        parent.as_object_mut().expect("a map").remove(name).expect("it was there");
    }

    #[test]
    fn a_server_is_known_without_its_command_and_its_absence_is_said() {
        let kept = found("Deployment", |it| {
            remove(it, "/spec/template/spec/containers/0/command");
            remove(it, "/spec/template/spec/containers/0/livenessProbe");
        });
        assert!(kept.starts_with("[probe-missing]") && kept.lines().count() == 1, "{kept}");
        let other =
            found("Deployment", |it| set(it, "/spec/template/spec/containers/0/command", serde_json::json!(["sh"])));
        assert!(other.starts_with("[no-server]") && other.lines().count() == 1, "{other}");
    }

    #[test]
    fn our_overlays_break_no_rule_but_are_not_published() {
        for objects in [stable(), research()] {
            let findings = check(&objects);
            let found: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.rule)).collect();
            assert_eq!(found, [(Severity::Note, NOT_PUBLISHED)], "{findings:?}");
        }
    }
}
