//! The files that are shipped: stripped, checked, and beside them what debuggers read.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};
use elf::gate::{File, Finding, Role};
use llama_build::CompilePlan;
use llama_build::portable::{self, Part};

use super::{Compiled, Plan, rules};
use crate::{crates, image, runtime, workspace};

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
        let binaries = binaries(&compiled.plan, compiled.part, &compiled.ours)?;
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

    /// Writes the bill of materials and the build information, and checks those two as well.
    ///
    /// # Errors
    /// [`codes::GATE_FAILED`]: a path of this machine stands in them.
    pub(crate) fn seal(&self, compiled: &Compiled, plan: &Plan) -> Result<()> {
        artefact::seal(&self.dir, compiled.info(plan)?)?;
        self.check_sealed(&compiled.plan)
    }

    fn check_sealed(&self, plan: &CompilePlan) -> Result<()> {
        let private = rules::private_paths(plan);
        let forbidden = rules::forbidden(&private);
        let rules = rules::rules(Part::Sample, &forbidden);
        let mut findings = Vec::new();
        for name in [artefact::BUILD_INFO, artefact::SBOM] {
            let text = (name.to_owned(), elf::read(&self.dir.join(name))?);
            findings.extend(elf::gate::check(&data(&text), &rules)?);
        }
        judge(&findings)
    }
}

/// A file that is no program.
fn data((name, text): &(String, Vec<u8>)) -> File<'_> {
    File { name, role: Role::Data, built: &[], shipped: text }
}

/// `ours`: programs that CMake knows nothing of.
fn binaries(plan: &CompilePlan, part: Part, ours: &[PathBuf]) -> Result<Vec<Binary>> {
    let tools_dir = part.tools_dir(plan);
    let mut files: Vec<(String, PathBuf, Role<'static>)> =
        part.tools().into_iter().map(|tool| (format!("bin/{tool}"), tools_dir.join(tool), Role::Tool)).collect();
    files.extend(ours.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (format!("bin/{name}"), path.clone(), Role::Tool)
    }));
    files.push(("lib/libllama.so".to_owned(), tools_dir.join("libllama.so"), Role::Library));
    for library in ["libggml.so", "libggml-base.so"] {
        files.push((format!("lib/{library}"), plan.bin_dir().join(library), Role::Library));
    }
    for variant in part.variants() {
        let file = portable::backend(variant.name);
        let role = Role::CpuBackend { variant: variant.name, features: variant.features };
        files.push((format!("lib/{file}"), plan.bin_dir().join(file), role));
    }
    if let Some((name, path, role)) = files.iter().find(|(_, path, _)| !path.is_file()) {
        let what = match role {
            Role::CpuBackend { variant, .. } => format!("CPU variant `{variant}` is missing"),
            _ => format!("`{name}` is missing"),
        };
        return Err(Error::new(codes::GATE_FAILED, format!("{what}: the build made no `{}`", path.display())));
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

/// llama.cpp's and its bundled code's, ours, and those of what zig and cargo link in.
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
    if !compiled.ours.is_empty() {
        files.push(("caravan/LICENSE-MIT".to_owned(), workspace::root().join("LICENSE-MIT")));
        for linked in crates::linked(&runtime::PROGRAMS, &runtime::target())? {
            for path in linked.licences()? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                files.push((format!("{}-{}/{name}", linked.name, linked.version), path.clone()));
            }
        }
    }
    if let Some(page) = &compiled.page {
        files.push(("web-page/LICENSES.txt".to_owned(), page.licences.clone()));
    }
    let read = |(name, path): (String, PathBuf)| {
        let text = fs::read(&path).map_err(|error| Error::io("cannot read", &path, error))?;
        Ok((format!("share/licenses/{name}"), text))
    };
    let mut licences: Vec<(String, Vec<u8>)> = files.into_iter().map(read).collect::<Result<_>>()?;
    if !compiled.ours.is_empty() {
        licences.push(("share/licenses/rust-std/LICENSE-MIT.txt".to_owned(), RUST_STD.to_vec()));
    }
    Ok(licences)
}

/// rustc comes with its licences or without them, as it was installed.
const RUST_STD: &[u8] = include_bytes!("rust-std.txt");

fn check(compiled: &Compiled, binaries: &[Binary], licences: &[(String, Vec<u8>)]) -> Result<()> {
    let binaries = binaries.iter().map(|binary| File {
        name: &binary.name,
        role: binary.role,
        built: &binary.built,
        shipped: &binary.shipped,
    });
    let files: Vec<File> = binaries.chain(licences.iter().map(data)).collect();
    let private = rules::private_paths(&compiled.plan);
    judge(&elf::gate::check_all(&files, &rules::rules(compiled.part, &rules::forbidden(&private)))?)
}

fn judge(findings: &[Finding]) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use llama_build::portable::{Debug, Locations};
    use llama_build::toolchain::{Hermetic, Program};

    use super::*;

    fn plan(build_dir: &Path) -> CompilePlan {
        let program = || Program { path: "/tools/x".into(), version: "1".to_owned() };
        let toolchain = Hermetic { zig: program(), cmake: program(), ninja: program(), to_fetch: Vec::new() };
        let at = Locations {
            source: build_dir.join("source"),
            source_id: "tree".to_owned(),
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            build_dir: build_dir.to_owned(),
        };
        portable::plan(Part::Whole, 1, Debug::Lines, &toolchain, &at)
    }

    #[test]
    fn a_missing_variant_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path());
        let touch = |path: PathBuf| write(&path, b"not looked at", 0o755).unwrap();
        let tools_dir = Part::Whole.tools_dir(&plan);
        Part::Whole.tools().into_iter().for_each(|tool| touch(tools_dir.join(tool)));
        touch(tools_dir.join("libllama.so"));
        touch(plan.bin_dir().join("libggml.so"));
        let backend = |variant: &str| plan.bin_dir().join(portable::backend(variant));
        let refused = || {
            let Err(error) = binaries(&plan, Part::Whole, &[]) else { panic!("it passes") };
            assert_eq!(error.code(), codes::GATE_FAILED);
            error.to_string()
        };
        assert!(refused().starts_with("`lib/libggml-base.so` is missing: the build made no `/"));
        touch(plan.bin_dir().join("libggml-base.so"));
        for variant in Part::Whole.variants() {
            assert!(refused().starts_with(&format!("CPU variant `{}` is missing", variant.name)));
            touch(backend(variant.name));
        }
        assert!(refused().contains("not an ELF file"));
    }

    #[test]
    fn what_is_written_last_is_searched_for_paths_too() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(&dir.path().join("build directory"));
        let tree = Tree { dir: dir.path().join("tree"), debug: dir.path().join("debug") };
        let text = |name: &str, text: &str| write(&tree.dir.join(name), text.as_bytes(), 0o644).unwrap();
        let path = format!("{{\"flag\": \"-I{}/include\"}}", plan.build_dir.display());
        for name in [artefact::BUILD_INFO, artefact::SBOM] {
            text(artefact::BUILD_INFO, "{}");
            text(artefact::SBOM, "{}");
            tree.check_sealed(&plan).unwrap();
            text(name, &path);
            let error = tree.check_sealed(&plan).unwrap_err();
            assert_eq!(error.code(), codes::GATE_FAILED);
            assert!(error.to_string().contains(&format!("`{name}` names the build directory")), "{error}");
        }
    }
}
