//! What programs ask for, against what the linker was told.

use std::fs;
use std::path::Path;

use crate::support::compile;
use elf::{Facts, Kind, Machine, Version};

fn facts(source: &str, flags: &[&str]) -> Facts {
    let temp = tempfile::tempdir().unwrap();
    Facts::read(&compile(temp.path(), "gcc", source, "x", flags)).unwrap()
}

const MAIN: &str = "#include <math.h>\n#include <stdlib.h>\nint main(int c, char **v) { return pow(c, atoi(v[0])); }";

#[test]
fn an_executable_tells_what_it_needs() {
    let facts = facts(MAIN, &["-pie", "-fPIE", "-Wl,--no-as-needed", "-lm", "-Wl,-rpath,$ORIGIN/../lib:/opt/x"]);
    assert_eq!(facts.kind, Kind::PieExecutable);
    assert_eq!(facts.needed, ["libm.so.6", "libc.so.6"]);
    let search: Vec<_> = facts.search.iter().map(|path| path.directory.as_str()).collect();
    assert_eq!(search, ["$ORIGIN/../lib", "/opt/x"]);
    assert!(facts.interpreter.as_deref().is_some_and(|path| path.contains("/ld-linux-")));
    let math = facts.required.iter().find(|required| required.library == "libm.so.6").unwrap();
    assert_eq!((math.family.as_str(), math.symbols.as_slice()), ("GLIBC", &["pow".to_owned()][..]));
    assert!(math.version >= Version::new(2, 17), "{}", math.version);
    assert!(facts.symbol_table && !facts.debug_sections && !facts.writable_code && !facts.executable_stack);
}

#[test]
fn kinds_are_told_apart() {
    assert_eq!(facts(MAIN, &["-no-pie", "-lm"]).kind, Kind::FixedExecutable);
    assert_eq!(facts(MAIN, &["-static-pie", "-lm"]).kind, Kind::PieExecutable);
    assert_eq!(facts(MAIN, &["-static-pie", "-lm"]).interpreter, None);
    assert_eq!(facts("int x;", &["-shared"]).kind, Kind::SharedLibrary);
    let object = facts("int x;", &["-c", "-g"]);
    assert_eq!((object.kind, object.executable_stack, object.debug_sections), (Kind::Other, false, true));
}

#[test]
fn exports_are_what_others_can_bind_to() {
    let source = "int seen; static int local; __attribute__((visibility(\"hidden\"))) int hidden;
        extern int wanted; int use(void) { return local + hidden + wanted; }";
    let facts = facts(source, &["-shared", "-fPIC", "-Wl,-soname,libx.so.1"]);
    let ours: Vec<_> = facts.exports.iter().filter(|name| !name.starts_with('_')).collect();
    assert_eq!(ours, ["seen", "use"]);
    assert_eq!(facts.soname.as_deref(), Some("libx.so.1"));
}

#[test]
fn unsafe_segments_are_seen() {
    let code = facts("int x;", &["-shared", "-Wl,-z,execstack"]);
    assert!(code.executable_stack);
    assert!(
        facts("void _start(void) {}", &["-Wl,--omagic,--no-warn-rwx-segments", "-static", "-nostdlib"]).writable_code
    );
    let rpath = facts("int x;", &["-shared", "-Wl,--disable-new-dtags,-rpath,/a"]);
    assert_eq!((rpath.search[0].tag, rpath.search[0].directory.as_str()), ("RPATH", "/a"));
}

#[test]
fn packed_relocations_are_a_version_without_numbers() {
    let source = "int a; int *b[] = { &a, &a, &a, &a }; int main(void) { return b != 0; }";
    let facts = facts(source, &["-pie", "-fPIE", "-Wl,-z,pack-relative-relocs"]);
    assert!(facts.unnumbered.contains(&("libc.so.6".to_owned(), "GLIBC_ABI_DT_RELR".to_owned())), "{facts:?}");
}

#[test]
fn what_is_no_elf_file_is_refused() {
    let message = |bytes: &[u8]| Facts::of(bytes).unwrap_err().to_string();
    assert_eq!(message(b""), "not an ELF file");
    assert_eq!(message(b"#!/bin/sh\n"), "not an ELF file");
    let temp = tempfile::tempdir().unwrap();
    let path = compile(temp.path(), "gcc", "int x;", "x", &["-shared"]);
    let mut bytes = fs::read(path).unwrap();
    let arm: [u8; 2] = 183u16.to_le_bytes();
    bytes[18..20].copy_from_slice(&arm);
    assert_eq!(Facts::of(&bytes).unwrap().machine, Machine::Aarch64);
    assert!(elf::Code::of(&bytes).unwrap_err().to_string().contains("other processors"));
    bytes[18] = 243;
    assert_eq!(message(&bytes), "an ELF file for machine 243, not for x86-64 or arm64");
    bytes[4] = 1;
    assert_eq!(message(&bytes), "not a 64-bit little-endian ELF file");
    let error = Facts::read(Path::new("/nowhere/x")).unwrap_err().to_string();
    assert_eq!(error, "cannot read `/nowhere/x`: no such file or directory");
}

#[test]
fn a_library_tells_which_versions_it_defines() {
    let dir = tempfile::tempdir().unwrap();
    let map = dir.path().join("map");
    fs::write(&map, "ANSWER_1.0 { global: one; local: *; };\nANSWER_2.0 { global: two; } ANSWER_1.0;\n").unwrap();
    let script = format!("-Wl,--version-script={}", map.display());
    let source = "int one(void) { return 1; }\nint two(void) { return 2; }";
    let library = facts(source, &["-shared", "-fPIC", "-Wl,-soname,libanswer.so.1", &script]);
    // Its own name is no version.
    assert_eq!(library.defines.into_iter().collect::<Vec<_>>(), ["ANSWER_1.0", "ANSWER_2.0"]);
    assert!(facts("int x;", &["-shared"]).defines.is_empty());
}
