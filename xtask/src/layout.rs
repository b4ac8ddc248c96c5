//! The layout directory that `package` writes: whole in one step, and never in the place of something else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use artefact::{Split, pack};
use diagnostic::{Error, Result, codes};
use oci::{Descriptor, Layout, PushPlan, ReadLayout};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::{ui, workspace};

/// A directory that holds a layout, or may hold one.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    dir: PathBuf,
}

impl Target {
    /// Looks at what is there; changes nothing.
    ///
    /// # Errors
    /// [`codes::MANIFEST_INVALID`]: something is there that is no layout, and that nobody wants to lose.
    pub(crate) fn new(dir: &Path) -> Result<Target> {
        let absolute = std::path::absolute(dir).map_err(|error| Error::io("cannot find", dir, error))?;
        let dir = match absolute.canonicalize() {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Target { dir: absolute }),
            Err(error) => return Err(Error::io("cannot read", dir, error)),
        };
        let is_empty = fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_none());
        if is_empty || Layout::open(&dir).is_ok() {
            return Ok(Target { dir });
        }
        let message = format!("`{}` is there and is no layout, so it will not be replaced", dir.display());
        Err(Error::new(codes::MANIFEST_INVALID, message).hint("name another directory with `--out`"))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Packs a sealed tree. A layout that already holds the same artefact, whole, stays as it is, with its signatures.
    ///
    /// The caller holds [`crate::compile::lock`].
    pub(crate) fn pack(&self, tree: &Path) -> Result<Descriptor> {
        let plan = pack::Plan::new(tree, Split::One, env!("CARGO_PKG_REPOSITORY"))?;
        let tag = &plan.info().llama_version;
        self.fill(tag, |layout| {
            let packed = plan.run(layout)?;
            let index = pack::publish(layout, std::slice::from_ref(&packed), tag)?;
            for layer in &packed.layers {
                let (size, whole) = (layer.descriptor.size, layer.uncompressed_size);
                ui::note(format!("layer     {:.2} MB, {:.1} MB unpacked", size as f64 / 1e6, whole as f64 / 1e6));
            }
            Ok(index)
        })
    }

    /// Has a new layout written beside this one, and puts it in its place, unless what `tag` names is there already. The
    /// directory that the new layout lies in is for this run alone.
    ///
    /// Two that write to the same layout must not run at once.
    pub(crate) fn fill(&self, tag: &str, write: impl FnOnce(&Layout) -> Result<Descriptor>) -> Result<Descriptor> {
        // Minutes have gone by.
        Target::new(&self.dir)?;
        let staging = self.staging()?;
        let layout = Layout::create(&staging.path().join("oci"))?;
        let index = write(&layout)?;
        if self.holds(&index, tag)? {
            ui::note(format!("unchanged {}", workspace::short(&self.dir)));
            return Ok(index);
        }
        replace(layout.root(), &self.dir)?;
        ui::note(format!("written   {}", workspace::short(&self.dir)));
        Ok(index)
    }

    /// A new directory beside the layout; those of runs that were killed go.
    fn staging(&self) -> Result<tempfile::TempDir> {
        let (Some(parent), Some(name)) = (self.dir.parent(), self.dir.file_name()) else {
            let message = format!("`{}` cannot be the name of a layout", self.dir.display());
            return Err(Error::new(codes::MANIFEST_INVALID, message));
        };
        fs::create_dir_all(parent).map_err(|error| Error::io("cannot create", parent, error))?;
        // Its own name is in it: beside it may lie what others stage.
        let prefix = format!(".{}.staging-", name.to_string_lossy());
        let fail = |error| Error::io("cannot read", parent, error);
        for entry in fs::read_dir(parent).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)) {
                fs::remove_dir_all(&path).map_err(|error| Error::io("cannot remove", &path, error))?;
            }
        }
        let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
        made.map_err(|error| Error::io("cannot write in", parent, error))
    }

    /// Whether the layout already holds this index under this tag, and everything that belongs to it reads back.
    fn holds(&self, index: &Descriptor, tag: &str) -> Result<bool> {
        let whole = Layout::open(&self.dir).and_then(|layout| {
            let plan = PushPlan::new(&layout, Some(tag))?;
            for blob in &plan.blobs {
                let damaged = |error| Error::io("cannot read", &layout.blob_path(&blob.digest), error);
                io::copy(&mut layout.open_blob(blob)?, &mut io::sink()).map_err(damaged)?;
            }
            Ok(plan.root.digest == index.digest)
        });
        match whole {
            Err(error) if error.code() == codes::INTERRUPTED => Err(error),
            // What cannot be read is written again.
            whole => Ok(whole.unwrap_or(false)),
        }
    }
}

/// Puts a directory in the place of another: at every moment one of the two is there. What was there is left where the new
/// one was.
fn replace(new: &Path, old: &Path) -> Result<()> {
    if !old.exists() {
        return fs::rename(new, old).map_err(|error| Error::io("cannot write", old, error));
    }
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        // Some file systems cannot.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => replace_in_two_steps(new, old),
        done => done.map_err(|error| Error::io("cannot replace", old, error.into())),
    }
}

fn replace_in_two_steps(new: &Path, old: &Path) -> Result<()> {
    let aside = new.with_extension("old");
    fs::rename(old, &aside).map_err(|error| Error::io("cannot replace", old, error))?;
    fs::rename(new, old).map_err(|error| {
        let failed = Error::io("cannot write", old, error);
        match fs::rename(&aside, old) {
            Ok(()) => failed,
            Err(error) => failed.hint(format!("what was there is `{}` ({error})", aside.display())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A layout with one tagged image of two blobs.
    fn layout(dir: &Path) -> (Layout, Descriptor) {
        let layout = Layout::create(dir).unwrap();
        let blob = |text: &str| layout.put("application/octet-stream", text.as_bytes()).unwrap();
        let manifest = oci::Manifest::new(blob("{}"), vec![blob("a layer")]);
        let index = oci::Index::new(vec![layout.put_manifest(&manifest).unwrap()]);
        let index = layout.put_index(&index).unwrap();
        layout.tag(&index, "1").unwrap();
        (layout, index)
    }

    #[test]
    fn only_a_layout_or_nothing_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name);
        fs::create_dir(path("docs")).unwrap();
        fs::write(path("docs/notes.md"), "years of work").unwrap();
        for name in ["docs", "docs/notes.md"] {
            let error = Target::new(&path(name)).unwrap_err();
            assert_eq!(error.code(), codes::MANIFEST_INVALID);
            assert!(error.to_string().contains("is there and is no layout"), "{error}");
            assert!(error.hints()[0].contains("--out"), "{:?}", error.hints());
        }
        fs::create_dir(path("empty")).unwrap();
        layout(&path("layout"));
        std::os::unix::fs::symlink("layout", path("link")).unwrap();
        for name in ["empty", "layout", "nothing/there"] {
            assert!(Target::new(&path(name)).is_ok(), "{name}");
        }
        // The link stays one.
        assert_eq!(Target::new(&path("link")).unwrap().dir(), path("layout").canonicalize().unwrap());
    }

    #[test]
    fn what_dead_runs_staged_is_swept_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        for name in [".oci.staging-dead", ".staging-of-others", ".oci2.staging-x"] {
            fs::create_dir_all(temp.path().join(name).join("blobs")).unwrap();
        }
        let staging = Target::new(&temp.path().join("oci")).unwrap().staging().unwrap();
        let ours = staging.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut expected = [".oci2.staging-x".to_owned(), ".staging-of-others".to_owned(), ours];
        expected.sort();
        assert_eq!(names(temp.path()), expected);
    }

    #[test]
    fn a_damaged_layout_does_not_count_as_unchanged() {
        let temp = tempfile::tempdir().unwrap();
        let (layout, index) = layout(&temp.path().join("oci"));
        let target = Target::new(layout.root()).unwrap();
        assert!(target.holds(&index, "1").unwrap());
        assert!(!target.holds(&index, "2").unwrap());
        let other = Descriptor { digest: oci::Digest::of(b"other"), ..index.clone() };
        assert!(!target.holds(&other, "1").unwrap());

        // Of the same size: only its digest tells.
        let layer = layout.blob_path(&oci::Digest::of(b"a layer"));
        fs::write(&layer, "b layer").unwrap();
        assert!(!target.holds(&index, "1").unwrap());
        fs::write(&layer, "a layer").unwrap();
        assert!(target.holds(&index, "1").unwrap());
        fs::remove_file(&layer).unwrap();
        assert!(!target.holds(&index, "1").unwrap());
        assert!(!Target::new(&temp.path().join("none")).unwrap().holds(&index, "1").unwrap());
    }

    #[test]
    fn a_layout_is_exchanged_and_kept_when_that_fails() {
        for replace in [replace, replace_in_two_steps] {
            let temp = tempfile::tempdir().unwrap();
            let (staging, old) = (temp.path().join("staging"), temp.path().join("oci"));
            let new = staging.join("oci");
            fs::create_dir_all(&new).unwrap();
            fs::create_dir(&old).unwrap();
            fs::write(new.join("new"), "").unwrap();
            fs::write(old.join("old"), "").unwrap();
            replace(&new, &old).unwrap();
            assert_eq!(names(&old), ["new"]);

            replace(&staging.join("missing"), &old).unwrap_err();
            assert_eq!(names(&old), ["new"]);
        }
    }
}
