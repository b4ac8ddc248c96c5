//! The image of a build: the files that will be installed, collected from where CMake left them.

use std::fs;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result};
use llama_build::blas::OpenBlas;
use llama_build::{CompilePlan, product};

/// A directory with `bin/`, `lib/` and `share/`.
pub(crate) struct Image {
    dir: PathBuf,
}

impl Image {
    /// Collects the tools and libraries that the plan has built, our own programs, the licences, and the BLAS plug-in with a
    /// library of its own if there is one.
    pub(crate) fn collect(plan: &CompilePlan, ours: &[PathBuf], blas: Option<&OpenBlas>) -> Result<Image> {
        let image = Image { dir: plan.build_dir.join("image") };
        if image.dir.exists() {
            fs::remove_dir_all(&image.dir).map_err(|error| Error::io("cannot remove", &image.dir, error))?;
        }
        for tool in product::TOOLS {
            copy(&plan.bin_dir().join(tool.name), &image.bin())?;
        }
        for program in ours {
            copy(program, &image.bin())?;
        }
        for library in files_of(&plan.bin_dir())?.iter().filter(|file| is_library(file)) {
            copy(library, &image.lib())?;
        }
        let licenses = image.dir.join("share/licenses/llama.cpp");
        copy(&plan.source.join("LICENSE"), &licenses)?;
        for license in files_of(&plan.source.join("licenses"))? {
            copy(&license, &licenses)?;
        }
        if let Some(blas) = blas {
            copy(&plan.blas_dir().join(product::BLAS_PLUGIN), &image.lib())?;
            if let Some(licence) = &blas.bundled {
                copy(&blas.library, &image.lib())?;
                copy(licence, &image.openblas_licences())?;
            }
        }
        Ok(image)
    }

    /// Takes the BLAS plug-in out again.
    pub(crate) fn drop_blas(&self, blas: &OpenBlas) -> Result<()> {
        let mut files = vec![self.lib().join(product::BLAS_PLUGIN)];
        if blas.bundled.is_some() {
            files.extend(blas.library.file_name().map(|name| self.lib().join(name)));
            let licences = self.openblas_licences();
            fs::remove_dir_all(&licences).map_err(|error| Error::io("cannot remove", &licences, error))?;
        }
        for file in files {
            fs::remove_file(&file).map_err(|error| Error::io("cannot remove", &file, error))?;
        }
        Ok(())
    }

    fn openblas_licences(&self) -> PathBuf {
        self.dir.join("share/licenses/openblas")
    }

    pub(crate) fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    fn lib(&self) -> PathBuf {
        self.dir.join("lib")
    }

    /// Copies the image into a directory of the store.
    pub(crate) fn copy_to(&self, target: &Path) -> Result<()> {
        copy_tree(&self.dir, target)
    }
}

fn is_library(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("lib") && name.ends_with(".so")
}

/// The files of a directory, sorted.
pub(crate) fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let fail = |error| Error::io("cannot read", dir, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn copy(file: &Path, dir: &Path) -> Result<()> {
    let name = file.file_name().expect("files that are copied have names");
    fs::create_dir_all(dir).map_err(|error| Error::io("cannot create", dir, error))?;
    fs::copy(file, dir.join(name)).map(drop).map_err(|error| Error::io("cannot copy", file, error))
}

/// Copies a directory with all that is below it.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let fail = |error| Error::io("cannot read", from, error);
    for entry in fs::read_dir(from).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            copy_tree(&path, &to.join(path.file_name().expect("an entry of a directory has a name")))?;
        } else {
            copy(&path, to)?;
        }
    }
    Ok(())
}
