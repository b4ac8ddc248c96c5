//! `k8s`: the manifests for Kubernetes, rendered and checked.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use diagnostic::{Error, Result, codes};
use oci::{Reference, RegistryReference};
use serde_json::json;

use crate::k8s::finding::{Finding, Severity};
use crate::k8s::kustomize::{Changes, Kustomize};
use crate::k8s::{object, rules, schema};
use crate::{ui, workspace};

/// Render the manifests for Kubernetes, or check them
#[derive(Debug, Args)]
#[command(subcommand_required = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Render(Render),
    Check(Check),
}

/// Print an overlay as one YAML document after the other, for `kubectl apply -f -`
#[derive(Debug, Args)]
struct Render {
    /// `stable`, `research`, or the directory of an overlay of yours
    overlay: String,
    /// The image to run, by digest; otherwise what the overlay names
    #[arg(long, value_name = "NAME@DIGEST")]
    image: Option<String>,
    /// A component to add: `nfd`, `autoscaling`, `model-image`, `model-pvc`, or a directory
    #[arg(long, value_name = "COMPONENT")]
    component: Vec<String>,
}

/// Check overlays against the schemas of Kubernetes and our own rules
#[derive(Debug, Args)]
struct Check {
    /// `stable`, `research`, or directories of overlays of yours; otherwise all of ours, alone and with each component
    overlay: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        match self.what {
            What::Render(flags) => flags.run(),
            What::Check(flags) => flags.run(),
        }
    }
}

impl Render {
    fn run(self) -> Result<()> {
        let overlay = dir_of("overlays", &self.overlay)?;
        let changes = Changes {
            components: self.component.iter().map(|name| dir_of("components", name)).collect::<Result<_>>()?,
            image: self.image.as_deref().map(image).transpose()?,
        };
        let rendered = Kustomize::find(&workspace::tools_dir())?.render_with(&overlay, &changes)?;
        let findings = rules::check(&object::parse(&rendered)?);
        for finding in findings.iter().filter(|finding| finding.rule == rules::NOT_PUBLISHED) {
            ui::note(finding.to_string());
        }
        ui::print(rendered)
    }
}

/// One rendering that is checked.
struct Case {
    /// `stable`, `stable with nfd`.
    name: String,
    overlay: PathBuf,
    changes: Changes,
}

impl Check {
    fn run(self) -> Result<()> {
        let tools = workspace::tools_dir();
        let cases = if self.overlay.is_empty() { all_cases()? } else { named_cases(&self.overlay)? };
        let kustomize = Kustomize::find(&tools)?;
        let render = |case: &Case| object::parse(&kustomize.render_with(&case.overlay, &case.changes)?);
        let renderings: Vec<_> = cases.iter().map(render).collect::<Result<_>>()?;
        let mut results = Vec::new();
        for ((case, objects), found) in cases.iter().zip(&renderings).zip(schema::check(&tools, &renderings)?) {
            let mut findings = [found, rules::check(objects)].concat();
            findings.sort();
            results.push((case, objects.len(), findings));
        }
        let is_error = |finding: &&Finding| finding.severity == Severity::Error;
        let errors = results.iter().flat_map(|(_, _, findings)| findings).filter(is_error).count();
        if self.json {
            let overlays: Vec<_> = results
                .iter()
                .map(|(case, objects, findings)| json!({"name": case.name, "objects": objects, "findings": findings}))
                .collect();
            let value = json!({"kubernetes": schema::VERSIONS, "overlays": overlays});
            ui::print(serde_json::to_string_pretty(&value).expect("plain JSON"))?;
        } else {
            for (case, objects, findings) in &results {
                let errors = findings.iter().filter(is_error).count();
                let versions = schema::VERSIONS.join(", ");
                ui::print(format!("{}: {objects} objects, {errors} errors, Kubernetes {versions}", case.name))?;
                findings.iter().try_for_each(|finding| ui::print(indented(finding)))?;
            }
        }
        match errors {
            0 => Ok(()),
            1 => Err(Error::new(codes::K8S_UNFIT, "1 error in the manifests")),
            n => Err(Error::new(codes::K8S_UNFIT, format!("{n} errors in the manifests"))),
        }
    }
}

fn indented(finding: &Finding) -> String {
    finding.to_string().lines().map(|line| format!("  {line}\n")).collect()
}

/// A directory of ours by its name, or any directory by its path.
fn dir_of(kind: &str, name: &str) -> Result<PathBuf> {
    let ours = workspace::root().join("k8s").join(kind).join(name);
    let is_name = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    if is_name && ours.is_dir() {
        return Ok(ours);
    }
    let path = Path::new(name);
    if path.join("kustomization.yaml").is_file() {
        return Ok(path.to_owned());
    }
    let names: Vec<_> = names(kind)?.iter().map(|name| format!("`{name}`")).collect();
    Err(Error::new(codes::K8S_RENDER, format!("`{name}` is no directory with a `kustomization.yaml`"))
        .hint(format!("ours are {}", names.join(", "))))
}

/// The names of our overlays or components, sorted.
fn names(kind: &str) -> Result<Vec<String>> {
    let dir = workspace::root().join("k8s").join(kind);
    let fail = |error| Error::io("cannot read", &dir, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn image(text: &str) -> Result<RegistryReference> {
    match text.parse()? {
        Reference::Registry(name) => Ok(name),
        other => Err(Error::new(codes::REFERENCE_INVALID, format!("`{other}` is not in a registry"))
            .hint("a cluster pulls from a registry: write `HOST/REPOSITORY@sha256:..`")),
    }
}

fn named_cases(overlays: &[String]) -> Result<Vec<Case>> {
    let case = |name: &String| {
        Ok(Case { name: name.clone(), overlay: dir_of("overlays", name)?, changes: Changes::default() })
    };
    overlays.iter().map(case).collect()
}

/// Every overlay of ours, alone and with each component.
fn all_cases() -> Result<Vec<Case>> {
    let components = names("components")?;
    let mut cases = Vec::new();
    for overlay in names("overlays")? {
        cases.push(Case { name: overlay.clone(), overlay: dir_of("overlays", &overlay)?, changes: Changes::default() });
        for component in &components {
            cases.push(Case {
                name: format!("{overlay} with {component}"),
                overlay: dir_of("overlays", &overlay)?,
                changes: Changes { components: vec![dir_of("components", component)?], image: None },
            });
        }
    }
    Ok(cases)
}
