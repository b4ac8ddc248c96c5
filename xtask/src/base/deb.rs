//! Files of a Debian package into a base; dpkg's own `dpkg-deb` unpacks the outer layers.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use artefact::{Base, Entry};
use diagnostic::{Error, Result, codes};
use tar::{Archive, EntryType};

use super::pins::{MERGED, Package};

/// Entries of one package, and bytes of them together: glibc has 400 and 13 MB.
const ENTRIES: usize = 20_000;
const TOTAL: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes the wanted files, the copyright, and what scanners read; returns the newest time among those files.
///
/// # Errors
/// [`codes::BASE_INVALID`]: the package is damaged, or holds nothing of what is wanted.
pub(super) fn take(base: &mut Base, package: &Package, deb: &Path) -> Result<u64> {
    let control = field(deb, &[])?;
    // Where scanners of images look when there is no dpkg.
    let status = format!("var/lib/dpkg/status.d/{}", package.name);
    base.add(&status, Entry::File { mode: 0o644, content: control.into_bytes() })?;

    let mut child = process::spawn(
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(deb).stdin(Stdio::null()).stdout(Stdio::piped()),
    )?;
    let content = child.stdout.take().expect("it is piped");
    let taken = extract(base, package, content.take(TOTAL));
    let _ = child.kill();
    let _ = child.wait();
    taken
}

/// The version that a package says.
pub(super) fn version(deb: &Path) -> Result<String> {
    field(deb, &["Version"]).map(|text| text.trim().to_owned())
}

fn field(deb: &Path, names: &[&str]) -> Result<String> {
    let done = process::run(Command::new("dpkg-deb").arg("--field").arg(deb).args(names), PATIENCE)?;
    if !done.status.success() {
        let message = format!("`{}` is no Debian package: {}", deb.display(), done.last_words());
        return Err(Error::new(codes::BASE_INVALID, message));
    }
    Ok(done.stdout)
}

fn extract(base: &mut Base, package: &Package, content: impl Read) -> Result<u64> {
    let damaged = |why: &dyn std::fmt::Display| {
        Error::new(codes::BASE_INVALID, format!("the package `{package}` cannot be used: {why}"))
    };
    let mut untaken: BTreeSet<&str> = package.wanted().iter().map(String::as_str).collect();
    let mut newest = 0;
    let mut archive = Archive::new(content);
    for (count, entry) in archive.entries().map_err(|error| damaged(&error))?.enumerate() {
        process::interrupt::check()?;
        if count >= ENTRIES {
            return Err(damaged(&"it has too many entries"));
        }
        let mut entry = entry.map_err(|error| damaged(&error))?;
        let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(|error| damaged(&error))?;
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        let wanted = package.wanted().iter().find(|wanted| is_below(&path, wanted));
        if wanted.is_none() && !is_copyright(&path, &package.name) {
            continue;
        }
        let header = entry.header();
        let (kind, mode) = (header.entry_type(), header.mode().map_err(|error| damaged(&error))?);
        let mtime = header.mtime().map_err(|error| damaged(&error))?;
        let taken = match kind {
            // Made when something is put into them.
            EntryType::Directory => continue,
            EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).map_err(|error| damaged(&error))?;
                Entry::File { mode: if mode & 0o111 == 0 { 0o644 } else { 0o755 }, content }
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or_else(|| damaged(&format!("`{path}` leads nowhere")))?;
                Entry::Link(String::from_utf8(target.into_owned()).map_err(|error| damaged(&error))?)
            }
            _ => return Err(damaged(&format!("`{path}` is neither a file nor a link"))),
        };
        base.add(&merged(&path), taken)?;
        newest = newest.max(mtime);
        untaken.remove(wanted.map_or("", String::as_str));
    }
    match untaken.first() {
        None => Ok(newest),
        Some(missing) => Err(damaged(&format!("it has no `{missing}`"))
            .hint("Debian has moved a file: adapt `take` in `images/base.toml`")),
    }
}

fn is_below(path: &str, wanted: &str) -> bool {
    path == wanted || (wanted.ends_with('/') && path.starts_with(wanted))
}

/// A package whose copyright is that of another has a link instead of a directory.
fn is_copyright(path: &str, package: &str) -> bool {
    path.strip_prefix("usr/share/doc/")
        .and_then(|below| below.strip_prefix(package))
        .is_some_and(|rest| matches!(rest, "" | "/copyright"))
}

/// Where it lies when `/lib` is a link to `/usr/lib`.
fn merged(path: &str) -> String {
    match path.split_once('/') {
        Some((top, _)) if MERGED.contains(&top) => format!("usr/{path}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_and_the_copyright_are_taken() {
        assert!(is_below("lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/"));
        assert!(!is_below("lib/x86_64-linux-gnu.old/libc.so.6", "lib/x86_64-linux-gnu/"));
        assert!(!is_below("etc/os-release.d/x", "etc/os-release"));
        assert!(is_copyright("usr/share/doc/libc6/copyright", "libc6"));
        assert!(is_copyright("usr/share/doc/libgomp1", "libgomp1"));
        assert!(!is_copyright("usr/share/doc/libc6/changelog.gz", "libc6"));
        assert!(!is_copyright("usr/share/doc/libc6-dev/copyright", "libc6"));
    }

    #[test]
    fn files_lie_where_links_of_the_root_lead() {
        assert_eq!(merged("lib/x86_64-linux-gnu/libc.so.6"), "usr/lib/x86_64-linux-gnu/libc.so.6");
        assert_eq!(merged("lib64/ld-linux-x86-64.so.2"), "usr/lib64/ld-linux-x86-64.so.2");
        assert_eq!(merged("usr/lib/x86_64-linux-gnu/libgomp.so.1"), "usr/lib/x86_64-linux-gnu/libgomp.so.1");
        assert_eq!(merged("library/x"), "library/x");
    }
}
