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
use super::object::{Container, Object, text};

/// What every rule says of the objects of one rendering, sorted.
pub(crate) fn check(objects: &[Object]) -> Vec<Finding> {
    let rules = [threads::check, resources::check, security::check, lifecycle::check, references::check];
    let mut findings: Vec<_> = rules.iter().flat_map(|rule| rule(objects)).collect();
    findings.sort();
    findings
}

/// Whether a container runs `caravan serve`.
fn is_server(container: &Container<'_>) -> bool {
    text(container.value, "/command/0").rsplit('/').next() == Some("caravan")
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
    fn our_overlays_break_no_rule_but_are_not_published() {
        for objects in [stable(), research()] {
            let findings = check(&objects);
            let found: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.rule)).collect();
            assert_eq!(found, [(Severity::Note, NOT_PUBLISHED)], "{findings:?}");
        }
    }
}
