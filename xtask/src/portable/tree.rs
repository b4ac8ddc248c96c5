//! The files that are shipped: stripped, checked, and beside them what debuggers read.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};
use elf::gate::{File, Role};
use llama_build::portable;

use super::{Compiled, rules};
use crate::image;

/// Two directories: `bin/`, `lib/`, `share/`; and the debug files.
pub(crate) struct Tree {
    /// What is shipped.
    pub(crate) dir: PathBuf,
    /// `.build-id/ab/cdef.debug`: the `debug-file-directory` of debuggers.
    pub(crate) debug: PathBuf,
}

/// A program or library: where it goes, what it is, and its two forms.
struct Binary {
    name: String,
    role: Role<'static>,
    built: Vec<u8>,
    shipped: Vec<u8>,
}

impl Tree {
    /// Collects what was compiled into `dir`, which is replaced, and checks it.
    ///
    /// # Errors
    /// [`codes::GATE_FAILED`], naming every rule that a file breaks.
    pub(crate) fn collect(compiled: &Compiled, dir: &Path) -> Result<Tree> {
        let tree = Tree { dir: dir.join("tree"), debug: dir.join("debug") };
        for dir in [&tree.dir, &tree.debug] {
            if dir.exists() {
                fs::remove_dir_all(dir).map_err(|error| Error::io("cannot remove", dir, error))?;
            }
        }
        let binaries = binaries(compiled)?;
        for binary in &binaries {
            write(&tree.dir.join(&binary.name), &binary.shipped, 0o755)?;
            if let Some(path) = elf::Facts::of(&binary.shipped)?.build_id.and_then(|id| id.debug_path()) {
                write(&tree.debug.join(path), &elf::debug_file(&binary.built)?, 0o644)?;
            }
        }
        let licences = licences(compiled)?;
        for (name, text) in &licences {
            write(&tree.dir.join(name), text, 0o644)?;
        }
        check(compiled, &binaries, &licences)?;
        Ok(tree)
    }
}

fn binaries(compiled: &Compiled) -> Result<Vec<Binary>> {
    let (plan, part) = (&compiled.plan, compiled.part);
    let tools_dir = part.tools_dir(plan);
    let mut files: Vec<(String, PathBuf, Role<'static>)> =
        part.tools().into_iter().map(|tool| (format!("bin/{tool}"), tools_dir.join(tool), Role::Tool)).collect();
    files.push(("lib/libllama.so".to_owned(), tools_dir.join("libllama.so"), Role::Library));
    for library in ["libggml.so", "libggml-base.so"] {
        files.push((format!("lib/{library}"), plan.bin_dir().join(library), Role::Library));
    }
    for variant in part.variants() {
        let file = portable::backend(variant.name);
        let role = Role::CpuBackend { variant: variant.name, features: variant.features };
        files.push((format!("lib/{file}"), plan.bin_dir().join(file), role));
    }
    let binary = |(name, path, role): (String, PathBuf, Role<'static>)| {
        let mut built = elf::read(&path)?;
        let in_file = |error: Error| error.context(format!("`{}`", path.display()));
        elf::stamp(&mut built).map_err(in_file)?;
        let shipped = elf::strip(&built).map_err(in_file)?;
        Ok(Binary { name, role, built, shipped })
    };
    files.into_iter().map(binary).collect()
}

/// llama.cpp's and its bundled code's, and those of what zig links in.
fn licences(compiled: &Compiled) -> Result<Vec<(String, Vec<u8>)>> {
    let source = &compiled.source.dir;
    let mut files = vec![("llama.cpp/LICENSE".to_owned(), source.join("LICENSE"))];
    for path in image::files_of(&source.join("licenses"))? {
        files.push((format!("llama.cpp/{}", path.file_name().unwrap_or_default().to_string_lossy()), path));
    }
    let zig = compiled.zig_licences.join("ziglang");
    // Its compiler-rt, and code that starts programs.
    files.push(("zig/LICENSE".to_owned(), zig.join("LICENSE")));
    for part in ["libcxx", "libcxxabi", "libunwind"] {
        files.push((format!("{part}/LICENSE.TXT"), zig.join("lib").join(part).join("LICENSE.TXT")));
    }
    if let Some(page) = &compiled.page {
        files.push(("web-page/LICENSES.txt".to_owned(), page.licences.clone()));
    }
    let read = |(name, path): (String, PathBuf)| {
        let text = fs::read(&path).map_err(|error| Error::io("cannot read", &path, error))?;
        Ok((format!("share/licenses/{name}"), text))
    };
    files.into_iter().map(read).collect()
}

fn check(compiled: &Compiled, binaries: &[Binary], licences: &[(String, Vec<u8>)]) -> Result<()> {
    let binaries = binaries.iter().map(|binary| File {
        name: &binary.name,
        role: binary.role,
        built: &binary.built,
        shipped: &binary.shipped,
    });
    let texts = licences.iter().map(|(name, text)| File { name, role: Role::Data, built: &[], shipped: text });
    let files: Vec<File> = binaries.chain(texts).collect();
    let private = rules::private_paths(&compiled.plan);
    let findings = elf::gate::check_all(&files, &rules::rules(compiled.part, &rules::forbidden(&private)))?;
    if findings.is_empty() {
        return Ok(());
    }
    let list: String = findings.iter().map(|finding| format!("\n  {finding}")).collect();
    Err(Error::new(codes::GATE_FAILED, format!("{} rules of a portable build are broken:{list}", findings.len())))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let dir = path.parent().expect("a file of the tree lies in a directory");
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(path, bytes))
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|error| Error::io("cannot write", path, error))
}
