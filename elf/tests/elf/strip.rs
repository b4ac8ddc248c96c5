//! Stripped files run, load and read as before; what was dropped is found again by its build id.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{compile, readelf, run, write_executable};
use elf::{BuildId, Facts, debug_file, first_difference, stamp, strip};
use object::LittleEndian as LE;
use object::read::elf::{FileHeader, ProgramHeader};

const HELLO: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    static _Thread_local int per_thread = 3;
    int shared_number = 4;
    __attribute__((noinline)) int add(int a, int b) { return a + b; }
    int main(int argc, char **argv) { printf("%d\n", add(per_thread + shared_number, atoi(argv[1]))); return 0; }
"#;
const THROW: &str = r#"
    #include <iostream>
    #include <stdexcept>
    #include <vector>
    struct Noisy { std::vector<int> v; Noisy() : v(7) {} ~Noisy() { std::cout << "gone" << std::endl; } };
    static Noisy noisy;
    int main() {
        try { return noisy.v.at(9); } catch (const std::out_of_range &) { std::cout << "caught" << std::endl; }
    }
"#;
const LIBRARY: &str = r#"
    static int calls;
    __attribute__((constructor)) static void start(void) { calls = 10; }
    int call(void) { return ++calls; }
"#;
const LOADER: &str = r#"
    #include <dlfcn.h>
    #include <stdio.h>
    int main(int argc, char **argv) {
        void *library = dlopen(argv[1], RTLD_NOW);
        if (!library) { puts(dlerror()); return 1; }
        int (*call)(void) = dlsym(library, "call");
        printf("%d\n", call());
        printf("%d\n", call());
    }
"#;

/// Addresses and bytes of all segments.
fn segments(bytes: &[u8]) -> Vec<(u32, u64, u64, u64, Vec<u8>)> {
    let header = object::elf::FileHeader64::<LE>::parse(bytes).unwrap();
    let data = |segment: &object::elf::ProgramHeader64<LE>| {
        let bytes = segment.data(LE, bytes).unwrap().to_vec();
        // The first segment holds the file header, which names another section header table now.
        match segment.p_offset(LE) {
            0 if bytes.len() >= 64 => bytes[64..].to_vec(),
            _ => bytes,
        }
    };
    let segments = header.program_headers(LE, bytes).unwrap();
    segments
        .iter()
        .map(|segment| {
            let (vaddr, memsz) = (segment.p_vaddr(LE), segment.p_memsz(LE));
            (segment.p_type(LE), segment.p_offset(LE), vaddr, memsz, data(segment))
        })
        .collect()
}

/// Strips a file beside itself and checks all that does not need it to run.
fn strip_beside(path: &Path) -> std::path::PathBuf {
    let bytes = elf::read(path).unwrap();
    let stripped = strip(&bytes).unwrap();
    assert!(stripped.len() < bytes.len());
    assert_eq!(segments(&stripped), segments(&bytes));
    assert_eq!(strip(&stripped).unwrap(), stripped, "stripping again changes nothing");
    let (before, after) = (Facts::of(&bytes).unwrap(), Facts::of(&stripped).unwrap());
    assert!(before.symbol_table && before.debug_sections);
    assert_eq!(after, Facts { symbol_table: false, debug_sections: false, ..before });

    let to = path.with_extension("stripped");
    write_executable(&to, &stripped);
    readelf(&["-aW"], &to);
    let sections = readelf(&["-SW"], &to);
    for dropped in [".debug", ".symtab", " .strtab", ".comment"] {
        assert!(!sections.contains(dropped), "{dropped}:\n{sections}");
    }
    for kept in [".text", ".dynsym", ".eh_frame", ".shstrtab"] {
        assert!(sections.contains(kept), "{kept}:\n{sections}");
    }
    to
}

#[test]
fn stripped_programs_and_libraries_do_what_they_did() {
    let temp = tempfile::tempdir().unwrap();
    let hello = compile(temp.path(), "gcc", HELLO, "hello", &["-g", "-O1"]);
    let stripped = strip_beside(&hello);
    assert_eq!(run(Command::new(&stripped).arg("35")), "42\n");

    let fixed = compile(temp.path(), "gcc", HELLO, "fixed", &["-g", "-no-pie"]);
    assert_eq!(run(Command::new(strip_beside(&fixed)).arg("1")), "8\n");

    let cpp = compile(temp.path(), "g++", THROW, "throw", &["-g"]);
    assert_eq!(run(&mut Command::new(strip_beside(&cpp))), "caught\ngone\n");

    let library = compile(temp.path(), "gcc", LIBRARY, "library.so", &["-g", "-shared", "-fPIC", "-Wl,-soname,l.so.1"]);
    let loader = compile(temp.path(), "gcc", LOADER, "loader", &["-g", "-ldl"]);
    for loader in [loader.clone(), strip_beside(&loader)] {
        assert_eq!(run(Command::new(loader).arg(strip_beside(&library))), "11\n12\n");
    }
}

#[test]
fn debug_information_leaves_no_trace() {
    let temp = tempfile::tempdir().unwrap();
    let build = |directory: &str, flags: &[&str]| {
        let directory = temp.path().join(directory);
        elf::read(&compile(&directory, "gcc", HELLO, "hello", &[&["-O2"], flags].concat())).unwrap()
    };
    let without = build("a", &["-Wl,--build-id=none"]);
    let with = build("a/very/long/name/of/a/directory", &["-Wl,--build-id=none", "-g3"]);
    assert_ne!(with, without);
    assert!(first_difference(&strip(&with).unwrap(), &strip(&without).unwrap()).is_none());
    assert_eq!(stamp(&mut with.clone()).unwrap(), None, "there is no id to replace");

    // The linker's own id is a digest of debug information, too; ours is not.
    let (mut here, mut there) = (build("b", &["-g"]), build("c/d", &["-g3"]));
    assert_ne!(strip(&here).unwrap(), strip(&there).unwrap());
    let id = stamp(&mut here).unwrap().unwrap();
    assert_eq!(stamp(&mut there).unwrap().as_ref(), Some(&id));
    assert_eq!(strip(&here).unwrap(), strip(&there).unwrap());
    assert_eq!(Facts::of(&strip(&here).unwrap()).unwrap().build_id, Some(id.clone()));
    assert_eq!(stamp(&mut here).unwrap().as_ref(), Some(&id), "stamping again changes nothing");
    let other = &mut elf::read(&compile(temp.path(), "g++", THROW, "other", &["-g"])).unwrap();
    assert_ne!(stamp(other).unwrap(), Some(id));
}

#[test]
fn debuggers_find_names_and_lines_again() {
    let temp = tempfile::tempdir().unwrap();
    for (name, flags) in [("hello", &["-g"][..]), ("fixed", &["-g", "-no-pie"]), ("compressed", &["-g", "-gz"])] {
        let path = compile(temp.path(), "gcc", HELLO, name, flags);
        let mut bytes = elf::read(&path).unwrap();
        let id = stamp(&mut bytes).unwrap().unwrap();
        let debug = debug_file(&bytes).unwrap();
        assert_eq!(Facts::of(&debug).unwrap().build_id.as_ref(), Some(&id));
        assert!(!debug.windows(4).any(|window| window == b"%d\n\0"), "no data of the program stays");
        assert_eq!(debug_file(&debug).unwrap(), debug);

        let place = temp.path().join(id.debug_path().unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, debug).unwrap();
        let symbols = run(Command::new("nm").arg(&place));
        let add = symbols.lines().find(|line| line.ends_with(" add")).unwrap();
        let address = add.split_whitespace().next().unwrap();
        let line = run(Command::new("addr2line").arg("-fe").arg(&place).arg(address));
        assert!(line.starts_with("add\n") && line.trim_end().ends_with(&format!("{name}.c:6")), "{line}");
    }
}

#[test]
fn debug_paths_are_those_of_gdb() {
    let temp = tempfile::tempdir().unwrap();
    let id = |flag: &str| {
        let path = compile(temp.path(), "gcc", "int x;", "x", &["-shared", flag]);
        Facts::read(&path).unwrap().build_id
    };
    let path = |id: Option<BuildId>| id.and_then(|id| id.debug_path());
    assert_eq!(path(id("-Wl,--build-id=0xabcdef01")).as_deref(), Some(Path::new(".build-id/ab/cdef01.debug")));
    assert_eq!(path(id("-Wl,--build-id=0xab")), None);
}
