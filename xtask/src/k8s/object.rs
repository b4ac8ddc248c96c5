//! What was rendered: objects of the Kubernetes API, and the pods in them.

use diagnostic::{Error, Result, codes};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The most objects that one rendering may have; ours have seven.
const MOST: usize = 1000;

/// One object of the API.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    value: Value,
}

impl Object {
    /// `Deployment`.
    pub(crate) fn kind(&self) -> &str {
        text(&self.value, "/kind")
    }

    /// `apps/v1`.
    pub(crate) fn api_version(&self) -> &str {
        text(&self.value, "/apiVersion")
    }

    pub(crate) fn name(&self) -> &str {
        text(&self.value, "/metadata/name")
    }

    /// `Deployment/caravan-stable`.
    pub(crate) fn label(&self) -> String {
        format!("{}/{}", self.kind(), self.name())
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// What stands at a JSON pointer.
    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    /// The pods that this object makes.
    pub(super) fn pod(&self) -> Option<Pod<'_>> {
        let template = match self.kind() {
            "Pod" => "",
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => "/spec/template",
            "CronJob" => "/spec/jobTemplate/spec/template",
            _ => return None,
        };
        let pod = self.at(template)?;
        let path = format!("{template}/spec").trim_start_matches('/').replace('/', ".");
        Some(Pod { object: self, path, spec: pod.get("spec")?, labels: pod.pointer("/metadata/labels") })
    }

    #[cfg(test)]
    pub(super) fn value_mut(&mut self) -> &mut Value {
        &mut self.value
    }
}

/// The pods of a workload.
#[derive(Debug, Clone)]
pub(super) struct Pod<'a> {
    pub(super) object: &'a Object,
    /// Where its `spec` stands in the object.
    pub(super) path: String,
    pub(super) spec: &'a Value,
    labels: Option<&'a Value>,
}

/// A container of a pod.
#[derive(Debug, Clone)]
pub(super) struct Container<'a> {
    /// Where it stands in the object.
    pub(super) path: String,
    pub(super) value: &'a Value,
    /// Whether it ends before the others start.
    pub(super) is_initial: bool,
}

impl<'a> Pod<'a> {
    pub(super) fn containers(&self) -> impl Iterator<Item = Container<'a>> {
        let of = |list: &'static str| {
            let path = format!("{}.{list}", self.path);
            items(self.spec, &format!("/{list}")).map(move |value| Container {
                path: format!("{path}[{}]", text(value, "/name")),
                value,
                // One that is restarted always runs beside the others.
                is_initial: list == "initContainers" && text(value, "/restartPolicy") != "Always",
            })
        };
        of("containers").chain(of("initContainers"))
    }

    /// Whether labels that somebody selects by are all on these pods. Selecting by nothing is no selection.
    pub(super) fn is_selected_by(&self, labels: Option<&Value>) -> bool {
        let Some(wanted) = labels.and_then(Value::as_object).filter(|wanted| !wanted.is_empty()) else { return false };
        wanted.iter().all(|(name, value)| self.labels.and_then(|labels| labels.get(name)) == Some(value))
    }
}

impl<'a> Container<'a> {
    pub(super) fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.value.pointer(pointer)
    }

    /// The value of a variable that is written out.
    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        items(self.value, "/env").find(|variable| text(variable, "/name") == name)?.get("value")?.as_str()
    }
}

/// The text at a JSON pointer; empty when there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of the list at a JSON pointer; none when there is no list.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

/// The entries of the map at a JSON pointer; none when there is no map.
pub(super) fn entries<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// Reads what kustomize writes.
///
/// # Errors
/// [`codes::K8S_RENDER`]: it is no YAML, or a document in it is no object with a kind and a name.
pub(crate) fn parse(rendered: &str) -> Result<Vec<Object>> {
    let fail =
        |why: String| Err(Error::new(codes::K8S_RENDER, format!("what kustomize rendered cannot be read: {why}")));
    let mut objects = Vec::new();
    for (number, document) in yaml_serde::Deserializer::from_str(rendered).enumerate() {
        let number = number + 1;
        if number > MOST {
            return fail(format!("it has more than {MOST} objects"));
        }
        match Value::deserialize(document) {
            Ok(Value::Null) => {}
            Ok(value) => objects.push(Object { value }),
            Err(error) => return fail(format!("document {number}: {error}")),
        }
        if let Some(object) = objects.last()
            && (object.kind().is_empty() || object.api_version().is_empty() || object.name().is_empty())
        {
            return fail(format!("document {number} has no kind, API version or name"));
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_objects_or_an_error_says_which_is_not() {
        let one = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n";
        assert_eq!(parse(&format!("---\n{one}---\n---\n{one}")).unwrap().len(), 2);
        assert_eq!(parse("").unwrap(), []);
        for (text, expected) in [
            (format!("{one}---\n- a\n"), "document 2 has no kind, API version or name"),
            ("kind: Service\n".to_owned(), "document 1 has no kind, API version or name"),
            ("a: [1\n".to_owned(), "document 1: "),
            ("[".repeat(10_000), "document 1: "),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.code(), codes::K8S_RENDER);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn names_that_stand_for_names_do_not_fill_the_memory() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..30 {
            let names = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{names}]\n"));
        }
        let error = parse(&bomb).unwrap_err();
        assert_eq!(error.code(), codes::K8S_RENDER);
    }

    #[test]
    fn pods_are_found_in_every_kind_of_workload() {
        let container = "containers: [{name: a}]\ninitContainers: [{name: b}, {name: c, restartPolicy: Always}]\n";
        let pod = |kind: &str, wrap: &[&str]| {
            let mut spec: Value =
                yaml_serde::from_str(&format!("spec:\n  {}", container.replace('\n', "\n  "))).unwrap();
            for name in wrap.iter().rev() {
                spec = serde_json::json!({ *name: spec });
            }
            let mut object = serde_json::json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}});
            object.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            Object { value: object }
        };
        let names = |object: &Object| {
            let pod = object.pod().unwrap();
            pod.containers().map(|container| format!("{} {}", container.path, container.is_initial)).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&pod("Deployment", &["spec", "template"])),
            [
                "spec.template.spec.containers[a] false",
                "spec.template.spec.initContainers[b] true",
                "spec.template.spec.initContainers[c] false"
            ]
        );
        assert_eq!(names(&pod("Pod", &[]))[0], "spec.containers[a] false");
        let cron = pod("CronJob", &["spec", "jobTemplate", "spec", "template"]);
        assert_eq!(names(&cron)[0], "spec.jobTemplate.spec.template.spec.containers[a] false");
        assert!(pod("Service", &[]).pod().is_none());
    }
}
