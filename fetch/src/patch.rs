//! Our patches on top of the pristine source, in a copy apart from it.
//!
//! The copy is rebuilt in memory on every call and compared with what lies on disk: a file that is as it should be is not
//! touched, so that its time stays and ninja does not compile it again, and a damaged or half-written one is repaired.
//! No stamp file has to be believed for that; it takes 0.2 s for 3,665 files.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use build_info::Sha256Digest;
use diagnostic::{Error, Result, codes};
use diffy::patch_set::{FileMode, FileOperation, FilePatch, ParseOptions, PatchSet};
use diffy::{Hunk, Line, Patch};
use process::interrupt;
use sha2::{Digest, Sha256 as Hasher};

/// What every patch must say before its first `diff --git`: why it exists, and when it can go.
const STATEMENTS: [&str; 2] = ["# Why: ", "# Until: "];

/// A patch that is part of the patched copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedPatch {
    /// Its file name.
    pub name: String,
    /// Digest of the patch file.
    pub sha256: Sha256Digest,
}

/// Makes `out` the tree `pristine` with every `*.patch` of `patches` applied, in the order of their names.
///
/// Files of `out` that are already right are not touched; what does not belong there is removed. `pristine` is only
/// read. Two calls for the same `out` must take turns; that is the caller's to see to.
///
/// # Errors
/// [`codes::PATCH_FAILED`], naming the patch, the file and the hunk that do not fit; `out` is then unchanged.
pub fn apply(pristine: &Path, patches: &Path, out: &Path) -> Result<Vec<AppliedPatch>> {
    let mut overlay = Overlay::new();
    let mut applied = Vec::new();
    for path in patch_files(patches)? {
        let text = fs::read_to_string(&path).map_err(|error| Error::io("cannot read", &path, error))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        apply_patch(&name, &text, pristine, &mut overlay)?;
        let digest: [u8; 32] = Hasher::digest(text.as_bytes()).into();
        applied.push(AppliedPatch { name, sha256: Sha256Digest::new(digest) });
    }
    fs::create_dir_all(out).map_err(|error| Error::io("cannot create", out, error))?;
    mirror(pristine, out, Path::new(""), &mut overlay)?;
    for (path, file) in overlay {
        // What is left was created by a patch in a directory or under a name that the pristine tree does not have.
        if let Some(file) = file {
            let path = out.join(path);
            let parent = path.parent().expect("a file below `out` has a parent");
            fs::create_dir_all(parent).map_err(|error| Error::io("cannot create", parent, error))?;
            write_if_other(&path, &file)?;
        }
    }
    Ok(applied)
}

/// Files as the patches leave them; `None` is a file that they delete.
type Overlay = BTreeMap<PathBuf, Option<Content>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    bytes: Vec<u8>,
    executable: bool,
}

fn patch_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = |error| Error::io("cannot read", dir, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(cannot_read)? {
        let path = entry.map_err(cannot_read)?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn apply_patch(name: &str, text: &str, pristine: &Path, overlay: &mut Overlay) -> Result<()> {
    let failed = |why: &dyn fmt::Display| {
        Error::new(codes::PATCH_FAILED, format!("patch `{name}` {why}")).hint(
            "make the patch fit the pinned source, or remove it if upstream has the change: see `vendor/README.md`",
        )
    };
    let start = text.find("diff --git ").ok_or_else(|| failed(&"holds no `diff --git` section"))?;
    let (preamble, sections) = text.split_at(start);
    for statement in STATEMENTS {
        let said =
            preamble.lines().any(|line| line.strip_prefix(statement).is_some_and(|rest| !rest.trim().is_empty()));
        if !said {
            return Err(failed(&format_args!("does not say `{statement}...` at its top")));
        }
    }
    for section in PatchSet::parse(sections, ParseOptions::gitdiff()) {
        let section = section.map_err(|error| failed(&format_args!("cannot be read: {error}")))?;
        change(&section, pristine, overlay).map_err(|why| match why {
            Refused::Patch(why) => failed(&why),
            Refused::Other(error) => error,
        })?;
    }
    Ok(())
}

enum Refused {
    /// The patch does not fit: the rest of the sentence that its name begins.
    Patch(String),
    Other(Error),
}

/// Applies one file's section of a patch.
fn change(section: &FilePatch<'_, str>, pristine: &Path, overlay: &mut Overlay) -> Result<(), Refused> {
    let refuse = |why: String| Err(Refused::Patch(why));
    let operation = section.operation().strip_prefix(1);
    let (from, to) = match &operation {
        FileOperation::Modify { original, modified } if original == modified => (Some(original), Some(modified)),
        FileOperation::Create(path) => (None, Some(path)),
        FileOperation::Delete(path) => (Some(path), None),
        _ => return refuse("renames or copies a file, which is not supported".to_owned()),
    };
    let name = from.or(to).expect("every operation has a path").as_ref();
    let path = PathBuf::from(name);
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return refuse(format!("names `{name}`, which is not a plain path below the source"));
    }
    let Some(patch) = section.patch().as_text() else {
        return refuse(format!("changes `{name}` as a binary file, which is not supported"));
    };
    let old = match overlay.get(&path) {
        Some(content) => content.clone(),
        None => read(&pristine.join(&path)).map_err(Refused::Other)?,
    };
    let old = match (from, old) {
        (Some(_), Some(old)) => old,
        (Some(_), None) => return refuse(format!("changes `{name}`, which does not exist")),
        (None, Some(_)) => return refuse(format!("creates `{name}`, which exists already")),
        (None, None) => Content { bytes: Vec::new(), executable: false },
    };
    let Ok(text) = str::from_utf8(&old.bytes) else {
        return refuse(format!("changes `{name}`, which is not text"));
    };
    check_hunks(text, patch).map_err(|why| Refused::Patch(format!("does not fit `{name}`: {why}")))?;
    let Ok(new) = diffy::apply(text, patch) else {
        return refuse(format!("does not fit `{name}`: its hunks overlap"));
    };
    let executable = match section.new_mode() {
        None => old.executable,
        Some(FileMode::Regular) => false,
        Some(FileMode::Executable) => true,
        Some(_) => return refuse(format!("makes `{name}` a link or a submodule, which is not supported")),
    };
    if to.is_none() && !new.is_empty() {
        return refuse(format!("deletes `{name}`, but does not remove all of its lines"));
    }
    overlay.insert(path, to.map(|_| Content { bytes: new.into_bytes(), executable }));
    Ok(())
}

/// Each hunk must fit at its own line, or else at exactly one other place: what fits in several would be a guess.
fn check_hunks(text: &str, patch: &Patch<'_, str>) -> Result<(), String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (n, hunk) in patch.hunks().iter().enumerate() {
        let before = lines_before(hunk);
        let fits = |at: usize| lines.get(at..at + before.len()).is_some_and(|part| part == before);
        let line = hunk.old_range().start();
        if fits(line.saturating_sub(1)) {
            continue;
        }
        let places = (0..lines.len()).filter(|at| fits(*at)).count();
        if places != 1 {
            let number = n + 1;
            let why = if places == 0 { "is not there".to_owned() } else { format!("is there {places} times") };
            return Err(format!("what hunk {number} of {} changes at line {line} {why}", patch.hunks().len()));
        }
    }
    Ok(())
}

fn lines_before<'a>(hunk: &Hunk<'a, str>) -> Vec<&'a str> {
    let before = |line: &Line<'a, str>| match line {
        Line::Context(text) | Line::Delete(text) => Some(*text),
        Line::Insert(_) => None,
    };
    hunk.lines().iter().filter_map(before).collect()
}

/// Makes the directory `below` of `out` equal to that of `pristine`, with the overlay's files instead of its own; what is
/// used of the overlay is taken out of it, except new files.
fn mirror(pristine: &Path, out: &Path, below: &Path, overlay: &mut Overlay) -> Result<()> {
    interrupt::check()?;
    let (source, target) = (pristine.join(below), out.join(below));
    make_dir(&target)?;
    let cannot_read = |error| Error::io("cannot read", &source, error);
    let mut wanted = Vec::new();
    for entry in fs::read_dir(&source).map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        let path = below.join(entry.file_name());
        if entry.file_type().map_err(cannot_read)?.is_dir() {
            mirror(pristine, out, &path, overlay)?;
        } else {
            let content = match overlay.remove(&path) {
                Some(content) => content,
                None => read(&entry.path())?,
            };
            let Some(content) = content else { continue };
            write_if_other(&out.join(&path), &content)?;
        }
        wanted.push(entry.file_name());
    }
    let cannot_read = |error| Error::io("cannot read", &target, error);
    for entry in fs::read_dir(&target).map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        if !wanted.contains(&entry.file_name()) && !is_created(&below.join(entry.file_name()), overlay) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether a path is, or holds, a file that a patch creates.
fn is_created(path: &Path, overlay: &Overlay) -> bool {
    overlay.iter().any(|(file, content)| content.is_some() && file.starts_with(path))
}

/// A file's content; none when it does not exist. Links are refused: a patched copy must not lead out of itself.
fn read(path: &Path) -> Result<Option<Content>> {
    let cannot_read = |error| Error::io("cannot read", path, error);
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot_read(error)),
    };
    if !metadata.is_file() {
        return Err(Error::new(codes::TREE_MISMATCH, format!("`{}` is not a regular file", path.display())));
    }
    let bytes = fs::read(path).map_err(cannot_read)?;
    Ok(Some(Content { bytes, executable: metadata.permissions().mode() & 0o111 != 0 }))
}

fn write_if_other(path: &Path, content: &Content) -> Result<()> {
    let there = fs::symlink_metadata(path).ok();
    if let Some(there) = &there {
        if !there.is_file() {
            remove(path)?;
        } else if there.len() == content.bytes.len() as u64 && read(path)?.as_ref() == Some(content) {
            return Ok(());
        }
    }
    let cannot_write = |error| Error::io("cannot write", path, error);
    fs::write(path, &content.bytes).map_err(cannot_write)?;
    let mode = if content.executable { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(cannot_write)
}

fn make_dir(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => remove(path)?,
        Err(_) => {}
    }
    fs::create_dir_all(path).map_err(|error| Error::io("cannot create", path, error))
}

fn remove(path: &Path) -> Result<()> {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|error| Error::io("cannot remove", path, error))
}
