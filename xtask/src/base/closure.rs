//! Whether the programs of a build find all that they load, in the build or in the base below it: what `ldd` would say in a
//! container, without running anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use artefact::{Base, Entry};
use diagnostic::{Error, Result, codes};
use elf::Facts;

use crate::image::files_of;

/// Where Debian's dynamic linker looks, on x86-64.
const SYSTEM: [&str; 4] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib"];

/// Fails unless every library and every symbol version that is asked for is there.
///
/// # Errors
/// [`codes::GATE_FAILED`], naming the file and what it lacks; a file is damaged.
pub(crate) fn check(build: &Path, base: &Base) -> Result<()> {
    let mut own = BTreeMap::new();
    for dir in ["bin", "lib"] {
        for file in files_of(&build.join(dir))? {
            let bytes = elf::read(&file)?;
            if elf::is_elf(&bytes) {
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                own.insert(name.clone(), (format!("{dir}/{name}"), facts(&bytes, &name)?));
            }
        }
    }
    let mut system = System { base, known: BTreeMap::new() };
    for (path, facts) in own.values() {
        check_file(path, facts, &own.keys().map(String::as_str).collect(), &mut system)?;
        if let Some(interpreter) = &facts.interpreter
            && base.file(interpreter).is_none()
        {
            return Err(lacks(path, &format!("the dynamic linker `{interpreter}`")));
        }
    }
    // Libraries of the base need others.
    for (path, entry) in base.entries() {
        let Entry::File { content, .. } = entry else { continue };
        if elf::is_elf(content) {
            check_file(path, &facts(content, path)?, &BTreeSet::new(), &mut system)?;
        }
    }
    Ok(())
}

fn facts(bytes: &[u8], name: &str) -> Result<Facts> {
    Facts::of(bytes).map_err(|error| error.context(format!("`{name}`")))
}

/// The libraries of the base, by the name that others load them by, once somebody has asked.
struct System<'a> {
    base: &'a Base,
    known: BTreeMap<String, BTreeSet<String>>,
}

impl System<'_> {
    /// The versions that a library defines; nothing when it is not there.
    fn defines(&mut self, library: &str) -> Result<Option<&BTreeSet<String>>> {
        if !self.known.contains_key(library) {
            let found = SYSTEM.iter().find_map(|dir| self.base.file(&format!("{dir}/{library}")));
            let Some(bytes) = found else { return Ok(None) };
            self.known.insert(library.to_owned(), facts(bytes, library)?.defines);
        }
        Ok(self.known.get(library))
    }
}

fn check_file(path: &str, file: &Facts, own: &BTreeSet<&str>, system: &mut System<'_>) -> Result<()> {
    for library in &file.needed {
        if !own.contains(library.as_str()) && system.defines(library)?.is_none() {
            return Err(lacks(path, &format!("`{library}`")));
        }
    }
    let numbered =
        file.required.iter().map(|wanted| (wanted.library.clone(), format!("{}_{}", wanted.family, wanted.version)));
    for (library, version) in numbered.chain(file.unnumbered.iter().cloned()) {
        if own.contains(library.as_str()) {
            continue;
        }
        if system.defines(&library)?.is_none_or(|defined| !defined.contains(&version)) {
            return Err(lacks(path, &format!("`{version}` of `{library}`")));
        }
    }
    Ok(())
}

fn lacks(path: &str, what: &str) -> Error {
    Error::new(codes::GATE_FAILED, format!("`{path}` needs {what}, which neither the build nor the base has"))
        .hint("an image holds the libraries of `images/base.toml` and no others; a native build that was linked to more, or on a newer system, needs a base of its own: see `images/Containerfile`")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// A program that calls a library, compiled here, and the library.
    fn compiled(dir: &Path, version: &str) {
        for name in ["bin", "lib", "base"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        fs::write(dir.join("library.c"), "int answer(void) { return 42; }\n").unwrap();
        fs::write(dir.join("map"), format!("{version} {{ global: answer; local: *; }};\n")).unwrap();
        fs::write(dir.join("base/ld.so"), "a linker").unwrap();
        fs::write(dir.join("tool.c"), "int answer(void);\nint main(void) { return answer(); }\n").unwrap();
        let cc = |arguments: &[&str]| {
            let done = Command::new("cc").args(arguments).current_dir(dir).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        let library = ["-shared", "-fPIC", "-Wl,--version-script=map", "-Wl,-soname,libanswer.so.1"];
        cc(&[&library[..], &["-nostdlib", "library.c", "-o", "base/libanswer.so.1"]].concat());
        cc(&["-nostdlib", "-nostartfiles", "-Wl,-e,main", "tool.c", "base/libanswer.so.1", "-o", "bin/tool"]);
    }

    fn base(dir: &Path, files: &[(&str, &str)]) -> Base {
        let mut base = Base::new();
        for (file, path) in files {
            base.add(path, Entry::File { mode: 0o644, content: fs::read(dir.join(file)).unwrap() }).unwrap();
        }
        base
    }

    #[test]
    fn a_library_that_nobody_has_or_that_is_too_old_is_named() {
        let (dir, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (dir, old) = (dir.path(), old.path());
        compiled(dir, "ANSWER_2.0");
        compiled(old, "ANSWER_1.0");
        let linker = ("base/ld.so", "lib64/ld-linux-x86-64.so.2");
        let library = ("base/libanswer.so.1", "usr/lib/x86_64-linux-gnu/libanswer.so.1");
        check(dir, &base(dir, &[linker, library])).unwrap();

        let said = check(dir, &base(dir, &[linker])).unwrap_err().to_string();
        assert_eq!(said, "`bin/tool` needs `libanswer.so.1`, which neither the build nor the base has");
        let said = check(dir, &base(dir, &[library])).unwrap_err().to_string();
        assert!(said.contains("the dynamic linker `/lib64/ld-linux-x86-64.so.2`"), "{said}");
        let said = check(dir, &base(old, &[linker, library])).unwrap_err().to_string();
        assert!(said.contains("needs `ANSWER_2.0` of `libanswer.so.1`"), "{said}");

        // Beside the tool it is as good.
        fs::copy(dir.join("base/libanswer.so.1"), dir.join("lib/libanswer.so.1")).unwrap();
        check(dir, &base(dir, &[linker])).unwrap();
    }
}
