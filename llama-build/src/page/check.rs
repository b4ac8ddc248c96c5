//! What a built page must be: whole, complete, and without a trace of the machine that made it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use diagnostic::{Error, Result, codes};
use process::interrupt;

use super::{Plan, files};

/// What upstream's `ui-assets.cmake` asks for: beginnings and endings of names.
const REQUIRED: &[(&str, &str)] = &[
    ("index.html", ""),
    ("manifest.webmanifest", ""),
    ("sw.js", ""),
    ("build.json", ""),
    ("version.json", ""),
    ("bundle", ".js"),
    ("bundle", ".css"),
    ("workbox", ".js"),
];

pub(super) fn failed(why: impl std::fmt::Display) -> Error {
    Error::new(codes::GATE_FAILED, format!("the web page of llama-server was built, but {why}"))
}

/// Checks the page in `dist`, which was built somewhere in `room`.
pub(super) fn check(dist: &Path, plan: &Plan, room: &Path) -> Result<()> {
    if !dist.is_dir() {
        return Err(failed("nothing was written"));
    }
    let contents = read(dist)?;
    for (beginning, ending) in REQUIRED {
        let fits = |name: &String| {
            let base = name.rsplit('/').next().unwrap_or(name);
            if ending.is_empty() { base == *beginning } else { base.starts_with(beginning) && base.ends_with(ending) }
        };
        if !contents.keys().any(fits) {
            let name = if ending.is_empty() { (*beginning).to_owned() } else { format!("{beginning}*{ending}") };
            return Err(failed(format_args!("`{name}` is missing")));
        }
    }
    // Upstream's own last steps run on timers, in an order that nothing but the clock sees to.
    let text = |name: &str| contents.get(name).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
    let says = |name: &str, version: &str| text(name) == serde_json::json!({ "version": version }).to_string();
    if !says("build.json", &plan.shows) {
        return Err(failed(format_args!("`build.json` does not name `{}`", plan.shows)));
    }
    if !says("_app/version.json", &plan.name()) {
        return Err(failed("`_app/version.json` does not hold the name that we gave"));
    }
    let index = text("index.html");
    if index.contains("\"/_app/") || text("sw.js").contains("{url:\"/\"") {
        return Err(failed("it refers to itself by absolute paths"));
    }
    let splash = |name: &&String| name.starts_with("apple-splash-");
    if let Some(name) = contents.keys().filter(splash).find(|name| !index.contains(name.as_str())) {
        return Err(failed(format_args!("`index.html` does not refer to `{name}`")));
    }
    let room = room.file_name().unwrap_or_default().to_string_lossy();
    for (name, bytes) in &contents {
        if bytes.is_empty() {
            return Err(failed(format_args!("`{name}` is empty")));
        }
        if String::from_utf8_lossy(bytes).contains(&*room) {
            return Err(failed(format_args!("`{name}` holds the path of the directory it was built in")));
        }
    }
    Ok(())
}

fn read(dist: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    interrupt::check()?;
    let names = files::digests(dist, &[])?.into_keys();
    names
        .map(|name| {
            let path = dist.join(&name);
            let bytes = fs::read(&path).map_err(|error| Error::io("cannot read", &path, error))?;
            Ok((name, bytes))
        })
        .collect()
}
