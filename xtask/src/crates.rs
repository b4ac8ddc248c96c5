//! The crates of others that are linked into our programs, and their licences, which go where the programs go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use serde::Deserialize;

use crate::{image, workspace};

const TIMEOUT: Duration = Duration::from_secs(600);

/// A crate that is linked in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Where its source lies.
    pub(crate) dir: PathBuf,
}

/// What `cargo metadata` says, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    /// `None` for those of this workspace.
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `None` for what is linked; `build`, `dev`.
    kind: Option<String>,
}

/// The crates of others that these packages of ours are linked with for a target, sorted.
///
/// # Errors
/// cargo does not answer.
pub(crate) fn linked(packages: &[&str], target: &str) -> Result<Vec<Crate>> {
    let mut command = Command::new(workspace::cargo());
    command
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target])
        .current_dir(workspace::root());
    let done = process::run(&mut command, TIMEOUT)?;
    if !done.status.success() {
        return Err(Error::new(codes::PROCESS_FAILED, format!("`cargo metadata` failed: {}", done.last_words())));
    }
    let metadata: Metadata = serde_json::from_str(&done.stdout).map_err(|error| {
        Error::new(codes::PROCESS_FAILED, format!("`cargo metadata` says what we do not understand: {error}"))
    })?;
    Ok(of(&metadata, packages))
}

fn of(metadata: &Metadata, packages: &[&str]) -> Vec<Crate> {
    let by_id: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let is_ours = |package: &&&Package| package.source.is_none() && packages.contains(&package.name.as_str());
    let mut left: Vec<&str> = by_id.values().filter(is_ours).map(|package| package.id.as_str()).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = left.pop() {
        let Some(package) = by_id.get(id) else { continue };
        // A procedural macro is code of the compiler, and so is everything that it is made of.
        let is_macro = package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"));
        if is_macro || !seen.insert(id) {
            continue;
        }
        let is_linked = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let dependencies = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        left.extend(dependencies.filter(is_linked).map(|dependency| dependency.pkg.as_str()));
    }
    let others = seen.into_iter().filter_map(|id| by_id.get(id)).filter(|package| package.source.is_some());
    let mut crates: Vec<Crate> = others
        .map(|package| Crate {
            name: package.name.clone(),
            version: package.version.clone(),
            dir: package.manifest_path.parent().unwrap_or(Path::new("/")).to_owned(),
        })
        .collect();
    crates.sort();
    crates
}

impl Crate {
    /// The licence that we use it under: MIT where it may be chosen, or else everything that lies in the crate.
    ///
    /// # Errors
    /// [`codes::GATE_FAILED`]: it holds none.
    pub(crate) fn licences(&self) -> Result<Vec<PathBuf>> {
        let name_of = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        let is_licence = |path: &PathBuf| {
            ["LICENSE", "LICENCE", "COPYING", "UNLICENSE", "NOTICE"].iter().any(|word| name_of(path).starts_with(word))
        };
        let files: Vec<PathBuf> = image::files_of(&self.dir)?.into_iter().filter(is_licence).collect();
        if let Some(mit) = files.iter().find(|path| name_of(path).starts_with("LICENSE-MIT")) {
            return Ok(vec![mit.clone()]);
        }
        if files.is_empty() {
            let message = format!("crate `{} {}` comes without a licence", self.name, self.version);
            return Err(Error::new(codes::GATE_FAILED, message));
        }
        Ok(files)
    }
}

/// The directories in which cargo has unpacked crates: what a compiler must not write into a program.
pub(crate) fn source_dirs() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let entries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let mut dirs: Vec<PathBuf> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    dirs.sort();
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_told_from_what_only_builds() {
        let package = |name: &str, source: &str, kind: &str| {
            format!(
                r#"{{"id":"{name}","name":"{name}","version":"1.0.0","source":{source},"manifest_path":"/src/{name}/Cargo.toml","targets":[{{"kind":["{kind}"]}}]}}"#
            )
        };
        let node = |name: &str, dependencies: &[(&str, &str)]| {
            let list =
                dependencies.iter().map(|(on, kind)| format!(r#"{{"pkg":"{on}","dep_kinds":[{{"kind":{kind}}}]}}"#));
            format!(r#"{{"id":"{name}","deps":[{}]}}"#, list.collect::<Vec<_>>().join(","))
        };
        let (ours, other) = ("null", r#""registry""#);
        let packages = [
            package("ours", ours, "bin"),
            package("ours-too", ours, "lib"),
            package("linked", other, "lib"),
            package("deeper", other, "lib"),
            package("derive", other, "proc-macro"),
            package("of-derive", other, "lib"),
            package("builder", other, "lib"),
            package("tester", other, "lib"),
            package("unrelated", other, "lib"),
        ];
        let nodes = [
            node(
                "ours",
                &[("ours-too", "null"), ("derive", "null"), ("builder", r#""build""#), ("tester", r#""dev""#)],
            ),
            node("ours-too", &[("linked", "null")]),
            node("linked", &[("deeper", "null")]),
            node("derive", &[("of-derive", "null")]),
        ];
        let json = format!(r#"{{"packages":[{}],"resolve":{{"nodes":[{}]}}}}"#, packages.join(","), nodes.join(","));
        let metadata: Metadata = serde_json::from_str(&json).unwrap();
        let names: Vec<String> = of(&metadata, &["ours"]).into_iter().map(|linked| linked.name).collect();
        assert_eq!(names, ["deeper", "linked"]);
    }
}
