//! The licences of the code of others that the page is made of.
//!
//! Vite lists the packages of the JavaScript bundle, and ours is the patch that asks it to. It does not see what style
//! sheets import, nor the service worker, which Workbox bundles by itself, nor what upstream has copied into its source.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result};
use serde::Deserialize;

use super::{check, files};

/// Where Vite writes its list.
const BUNDLED: &str = ".svelte-kit/output/client/.vite/license.json";
/// Ten times what the page needs.
const LIMIT: u64 = 8 << 20;

/// One entry of Vite's list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Package {
    name: String,
    version: String,
    /// An SPDX expression.
    identifier: Option<String>,
    text: Option<String>,
}

/// The part of a `package.json` that matters here.
#[derive(Deserialize)]
struct Manifest {
    version: String,
    license: Option<String>,
    homepage: Option<String>,
    #[serde(default)]
    dependencies: BTreeMap<String, String>,
}

/// One text with the licences of everything that the page built in `ui` holds.
///
/// # Errors
/// A list cannot be read, or a package does not say how it is licensed.
pub(super) fn collect(ui: &Path) -> Result<String> {
    let modules = ui.join("node_modules");
    let mut packages: BTreeMap<(String, String), Package> = BTreeMap::new();
    let mut keep = |package: Package| packages.insert((package.name.clone(), package.version.clone()), package);
    let path = ui.join(BUNDLED);
    let bundled: Vec<Package> = serde_json::from_str(&read(&path)?)
        .map_err(|error| check::failed(format_args!("`{}` is not a list of packages: {error}", path.display())))?;
    for package in bundled {
        keep(package);
    }
    for name in imported_by_styles(ui)?.iter().chain(&workbox(&modules)?) {
        keep(installed(&modules, name)?);
    }

    let mut text = "The web page of llama-server holds code of these packages.\n".to_owned();
    for package in packages.values() {
        let Package { name, version, identifier, text: licence } = package;
        heading(&mut text, &format!("{name} {version}"), identifier.as_deref());
        match (licence, identifier) {
            (Some(licence), _) => paragraph(&mut text, licence),
            (None, Some(_)) => paragraph(&mut text, &without_text(&modules, package)),
            (None, None) => return Err(check::failed(format_args!("`{name}` {version} does not name a licence"))),
        }
        if let Some(notice) = notice(&modules, package)? {
            paragraph(&mut text, &notice);
        }
    }
    for (name, licence) in copied(&ui.join("src/lib/vendors"))? {
        heading(&mut text, &name, None);
        paragraph(&mut text, &licence);
    }
    Ok(text)
}

fn heading(text: &mut String, name: &str, identifier: Option<&str>) {
    let licence = identifier.map(|identifier| format!(" ({identifier})")).unwrap_or_default();
    writeln!(text, "\n{}\n{name}{licence}", "-".repeat(80)).expect("a string takes all");
}

fn paragraph(text: &mut String, paragraph: &str) {
    // Line ends as authors on other systems write them would show as differences between equal texts.
    writeln!(text, "\n{}", paragraph.replace('\r', "").trim_end()).expect("a string takes all");
}

/// A package whose authors have left the text out.
fn without_text(modules: &Path, package: &Package) -> String {
    let homepage = manifest(modules, &package.name).ok().and_then(|manifest| manifest.homepage);
    let see = homepage.map(|page| format!("; see {page}")).unwrap_or_default();
    format!("The package holds no licence text{see}")
}

/// The packages that style sheets import, and Tailwind's plug-ins: names that are no paths.
fn imported_by_styles(ui: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for name in files::digests(&ui.join("src"), &[])?.into_keys() {
        if name.ends_with(".css") || name.ends_with(".scss") {
            names.extend(read(&ui.join("src").join(name))?.lines().filter_map(imported).map(package_of));
        }
    }
    Ok(names)
}

fn imported(line: &str) -> Option<&str> {
    let rest = ["@import", "@plugin", "@use"].iter().find_map(|word| line.trim().strip_prefix(word))?.trim_start();
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let name = rest[1..].split(quote).next()?;
    let is_package = !name.is_empty() && !name.starts_with(['.', '/', '$']) && !name.contains(':');
    is_package.then_some(name)
}

/// `katex/src/styles/katex.scss` -> `katex`, `@tailwindcss/forms` -> itself.
fn package_of(path: &str) -> String {
    let parts = if path.starts_with('@') { 2 } else { 1 };
    path.split('/').take(parts).collect::<Vec<_>>().join("/")
}

/// What Workbox may put into a service worker.
fn workbox(modules: &Path) -> Result<Vec<String>> {
    let all = manifest(modules, "workbox-build")?.dependencies.into_keys();
    Ok(all.filter(|name| name.starts_with("workbox-")).collect())
}

fn installed(modules: &Path, name: &str) -> Result<Package> {
    let manifest = manifest(modules, name)?;
    let text = first_of(&modules.join(name), &["license", "licence", "copying"])?;
    Ok(Package { name: name.to_owned(), version: manifest.version, identifier: manifest.license, text })
}

/// What a package asks to be passed on besides its licence.
fn notice(modules: &Path, package: &Package) -> Result<Option<String>> {
    match manifest(modules, &package.name) {
        Ok(manifest) if manifest.version == package.version => first_of(&modules.join(&package.name), &["notice"]),
        // Another version is at the top; this one is somewhere below.
        _ => Ok(None),
    }
}

fn manifest(modules: &Path, name: &str) -> Result<Manifest> {
    let path = modules.join(name).join("package.json");
    serde_json::from_str(&read(&path)?)
        .map_err(|error| check::failed(format_args!("`{}` cannot be read: {error}", path.display())))
}

/// The directories of libraries that upstream has copied, each with its licence.
fn copied(vendors: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for dir in entries(vendors)?.into_iter().filter(|path| path.is_dir()) {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match first_of(&dir, &["license", "licence", "copying"])? {
            Some(licence) => found.insert(name, licence),
            None => return Err(check::failed(format_args!("`{}` holds no licence", dir.display()))),
        };
    }
    Ok(found)
}

/// The first file of a directory, by name, that begins with one of these in any case.
fn first_of(dir: &Path, beginnings: &[&str]) -> Result<Option<String>> {
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        path.is_file() && beginnings.iter().any(|beginning| name.starts_with(beginning))
    };
    entries(dir)?.into_iter().find(fits).map(|path| read(&path)).transpose()
}

/// Sorted; nothing when there is no such directory.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let fail = |error| Error::io("cannot read", dir, error);
    let paths = fs::read_dir(dir).map_err(fail)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String> {
    let fail = |error| Error::io("cannot read", path, error);
    if fs::metadata(path).map_err(fail)?.len() > LIMIT {
        return Err(check::failed(format_args!("`{}` is larger than {} MiB", path.display(), LIMIT >> 20)));
    }
    // Old texts are not always UTF-8, and one bad byte in a name must not lose them.
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_told_from_paths() {
        for (line, package) in [
            ("@import 'tailwindcss';", Some("tailwindcss")),
            ("  @plugin \"@tailwindcss/forms\";", Some("@tailwindcss/forms")),
            ("@use 'katex/src/styles/katex.scss' with (", Some("katex")),
            ("@import './markdown-content.css';", None),
            ("@import url('https://host/font.css');", None),
            ("@use 'sass:math';", None),
            ("@import", None),
            ("@import ''", None),
            ("body { content: '@import' }", None),
        ] {
            assert_eq!(imported(line).map(package_of).as_deref(), package, "{line}");
        }
    }
}
