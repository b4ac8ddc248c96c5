//! The API's own schemas: every object is validated, strictly, as several versions of Kubernetes would.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use serde::Deserialize;
use serde_json::json;

use super::finding::Finding;
use super::object::Object;
use crate::python;

/// The newest version that our validator knows, and the two before it: those that Kubernetes itself maintains.
pub(crate) const VERSIONS: &[&str] = &["1.35", "1.36", "1.37"];
/// `kubernetes-validate` with everything that it needs, by sha256.
const REQUIREMENTS: &str = include_str!("requirements.txt");
const SCRIPT: &str = include_str!("schema.py");
/// It takes a second for each overlay.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What the validator says of one object.
#[derive(Debug, Deserialize)]
struct Said {
    version: String,
    object: usize,
    #[serde(default)]
    path: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    missing: bool,
}

/// What the schemas say of each of several renderings. The validator is installed into `tools` when it is not there.
///
/// # Errors
/// The validator cannot be installed, or does not run.
pub(crate) fn check(tools: &Path, renderings: &[Vec<Object>]) -> Result<Vec<Vec<Finding>>> {
    let python = python::environment(&tools.join("kubernetes-validate"), REQUIREMENTS)?;
    // Most objects are the same in most renderings.
    let mut objects: Vec<&Object> = Vec::new();
    for object in renderings.iter().flatten() {
        if !objects.contains(&object) {
            objects.push(object);
        }
    }
    let values: Vec<_> = objects.iter().map(|object| object.value()).collect();
    let wanted = json!({"versions": VERSIONS, "objects": values});
    let fail = |error| Error::io("cannot write in", tools, error);
    let file = tempfile::NamedTempFile::new_in(tools).map_err(fail)?;
    fs::write(file.path(), wanted.to_string()).map_err(fail)?;
    let done = process::run(Command::new(python).args(["-c", SCRIPT]).arg(file.path()), TIMEOUT)?;
    let said: Option<Vec<Said>> = serde_json::from_str(&done.stdout).ok().filter(|_| done.status.success());
    let Some(said) = said else {
        let message = format!("kubernetes-validate: {}", done.last_words());
        return Err(Error::new(codes::PROCESS_FAILED, message));
    };
    let found = findings(&objects, said);
    let of = |rendering: &Vec<Object>| {
        let is_in = |number: &usize| objects.get(*number).is_some_and(|object| rendering.contains(object));
        found.iter().filter(|(number, _)| is_in(number)).map(|(_, finding)| finding.clone()).collect()
    };
    Ok(renderings.iter().map(of).collect())
}

/// One finding for what several versions say alike, with the number of its object.
fn findings(objects: &[&Object], said: Vec<Said>) -> Vec<(usize, Finding)> {
    let mut alike: BTreeMap<(usize, String, String, bool), Vec<String>> = BTreeMap::new();
    for Said { version, object, path, message, missing } in said {
        alike.entry((object, path, message, missing)).or_default().push(version);
    }
    let finding = |((number, path, message, missing), versions): ((usize, String, String, bool), Vec<String>)| {
        let object = objects.get(number)?;
        let versions = versions.join(", ");
        let finding = match missing {
            true => {
                let why =
                    format!("not validated: Kubernetes {versions} has no `{}` in its own API", object.api_version());
                Finding::error("no-schema", object, "kind", why).note()
            }
            false => Finding::error("schema", object, path, format!("Kubernetes {versions}: {message}")),
        };
        Some((number, finding))
    };
    alike.into_iter().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::finding::Severity;
    use crate::k8s::object;

    #[test]
    fn what_all_versions_say_is_said_once_and_no_schema_is_no_silence() {
        let objects = object::parse("{apiVersion: a/v1, kind: A, metadata: {name: x}}\n").unwrap();
        let said = serde_json::from_str(
            r#"[{"version": "1.35", "object": 0, "path": "spec.a", "message": "bad"},
                {"version": "1.36", "object": 0, "path": "spec.a", "message": "bad"},
                {"version": "1.37", "object": 0, "missing": true}]"#,
        )
        .unwrap();
        let found: Vec<_> = findings(&[&objects[0]], said).into_iter().map(|(_, finding)| finding).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].why, "not validated: Kubernetes 1.37 has no `a/v1` in its own API");
        assert_eq!((found[0].severity, found[0].rule), (Severity::Note, "no-schema"));
        assert_eq!((found[1].path.as_str(), found[1].why.as_str()), ("spec.a", "Kubernetes 1.35, 1.36: bad"));
        assert_eq!((found[1].severity, found[1].rule), (Severity::Error, "schema"));
    }
}
