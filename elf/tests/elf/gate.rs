//! Each rule has a file that breaks it, and a sentence.

use std::path::Path;

use elf::gate::{File, Finding, Forbidden, Reviewed, Role, Rules, check, check_all};
use elf::strip;
use insta::assert_snapshot;

use crate::support::compile;

/// glibc of the machine that runs the tests may be newer than our floor.
const ANY_GLIBC: Rules<'static> = Rules {
    glibc_max: (99, 0),
    needed_allowed: &["libc.so.6", "libm.so.6"],
    own_libraries: &["libours*.so"],
    interpreters: &["/lib64/ld-linux-x86-64.so.2"],
    hidden: &["_Z*"],
    forbidden: &[],
    reviewed: &[],
};

fn build(directory: &Path, name: &str, source: &str, flags: &[&str]) -> Vec<u8> {
    let compiler = if source.contains("namespace") { "g++" } else { "gcc" };
    let flags = [&["-O2", "-g", "-fPIC"], flags].concat();
    elf::read(&compile(directory, compiler, source, name, &flags)).unwrap()
}

/// Findings as lines, without addresses, which are the compiler's choice.
fn lines(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let mut parts = finding.message.split("0x");
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |line, part| line + "0x.." + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn judge(name: &str, role: Role<'_>, built: &[u8], rules: &Rules<'_>) -> String {
    let shipped = strip(built).unwrap();
    lines(&check(&File { name, role, built, shipped: &shipped }, rules).unwrap())
}

const MAIN: &str = "#include <stdio.h>\nint main(void) { return puts(\"x\"); }";

#[test]
fn a_plain_tool_passes() {
    let temp = tempfile::tempdir().unwrap();
    let tool = build(temp.path(), "tool", MAIN, &["-pie", "-Wl,-rpath,$ORIGIN/../lib:$ORIGIN"]);
    assert_eq!(judge("bin/tool", Role::Tool, &tool, &ANY_GLIBC), "");
}

#[test]
fn what_a_tool_asks_for_is_judged() {
    let temp = tempfile::tempdir().unwrap();
    build(temp.path(), "libgomp.so", "int omp(void) { return 1; }", &["-shared", "-Wl,-soname,libgomp.so.1"]);
    build(temp.path(), "libours1.so", "int ours(void) { return 1; }", &["-shared", "-Wl,-soname,libours1.so"]);
    let source = "int omp(void); int ours(void); int main(void) { return omp() + ours(); }";
    let flags = ["-no-pie", "-L.", "-l:libgomp.so", "-l:libours1.so", "-Wl,-rpath,/opt/lib", "-Wl,-z,execstack"];
    let tool = build(temp.path(), "tool", source, &[&flags[..], &["-Wl,--dynamic-linker,/opt/ld.so"]].concat());
    assert_snapshot!(judge("bin/tool", Role::Tool, &tool, &ANY_GLIBC), @r"
    `bin/tool` needs `libgomp.so.1`, which is not on the list
    `bin/tool` searches libraries in `/opt/lib` (RUNPATH), which does not begin with `$ORIGIN`
    `bin/tool` is not position independent
    `bin/tool` asks for the dynamic linker `/opt/ld.so`, which is not the usual one
    `bin/tool` has an executable stack
    ");
    // Of a whole build, our own libraries must be there.
    let shipped = strip(&tool).unwrap();
    let file = File { name: "bin/tool", role: Role::Tool, built: &tool, shipped: &shipped };
    assert!(
        lines(&check_all(&[file], &ANY_GLIBC).unwrap()).contains("needs our own `libours1.so`, which is not shipped")
    );
    let data = File { name: "lib/libours1.so", role: Role::Data, built: b"", shipped: b"" };
    assert!(!lines(&check_all(&[file, data], &ANY_GLIBC).unwrap()).contains("which is not shipped"));
}

/// Sets the flag that makes a loaded segment writable, in segments with code.
fn make_code_writable(elf: &mut [u8]) {
    let word = |elf: &[u8], at: usize| u32::from_le_bytes(elf[at..at + 4].try_into().unwrap());
    let (first, count) = (word(elf, 0x20) as usize, u16::from_le_bytes([elf[0x38], elf[0x39]]));
    let (load, execute, write) = (1, 1, 2);
    for header in (0..usize::from(count)).map(|index| first + index * 56) {
        if word(elf, header) == load && word(elf, header + 4) & execute != 0 {
            elf[header + 4] |= write;
        }
    }
}

#[test]
fn what_no_linker_should_make_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let shared = |source: &str, flags: &[&str]| build(temp.path(), "x.so", source, &[&["-shared"], flags].concat());
    let plain = shared("int x(void) { return 1; }", &[]);
    assert_eq!(judge("x", Role::Library, &plain, &ANY_GLIBC), "");
    let changed = |change: &dyn Fn(&mut [u8])| {
        let mut elf = plain.clone();
        change(&mut elf);
        elf
    };
    // A private interface of a library, as glibc has some.
    std::fs::write(temp.path().join("map"), "GLIBC_PRIVATE { hidden_away; };").unwrap();
    let private = ["-shared", "-Wl,-soname,libours1.so", "-Wl,--version-script,map"];
    build(temp.path(), "libours1.so", "int hidden_away(void) { return 1; }", &private);
    let uses_private = "int hidden_away(void); int x(void) { return hidden_away(); }";
    let moved = "int x; void *f(void) { void *p; __asm__(\"movabs $x, %0\" : \"=r\"(p)); return p; }";
    let unknown = "int x(void) { __asm__(\".byte 0x06\"); return 1; }";

    let cases = [
        (Role::Library, build(temp.path(), "tool", MAIN, &["-pie"]), "is an executable, not a shared library"),
        (Role::Tool, plain.clone(), "is a shared library, not an executable"),
        // A core dump.
        (Role::Library, changed(&|elf| elf[0x10] = 4), "is neither an executable nor a shared library"),
        (Role::Library, changed(&|elf| make_code_writable(elf)), "has code that is writable"),
        (Role::Library, shared(moved, &["-Wl,-z,notext"]), "has relocations in code"),
        (
            Role::Library,
            shared(uses_private, &["-L.", "-l:libours1.so"]),
            "needs `GLIBC_PRIVATE` of `libours1.so`, which is no stable version",
        ),
        (Role::Library, shared(unknown, &[]), "holds bytes in `x` at 0x.. that are no instruction we know"),
    ];
    for (role, built, sentence) in &cases {
        assert_eq!(judge("x", *role, built, &ANY_GLIBC), format!("`x` {sentence}"));
    }
}

#[test]
fn origin_is_a_directory_not_a_prefix() {
    let temp = tempfile::tempdir().unwrap();
    for (path, broken) in
        [("$ORIGIN", false), ("$ORIGIN/x", false), ("$ORIGINAL", true), ("$ORIGIN:", true), ("lib", true)]
    {
        let tool = build(temp.path(), "tool", MAIN, &["-pie", &format!("-Wl,-rpath,{path}")]);
        assert_eq!(!judge("bin/tool", Role::Tool, &tool, &ANY_GLIBC).is_empty(), broken, "{path}");
    }
}

#[test]
fn a_newer_glibc_is_named_with_its_symbol() {
    let temp = tempfile::tempdir().unwrap();
    // Older than every glibc with a 64-bit x86.
    let rules = Rules { glibc_max: (2, 2), ..ANY_GLIBC };
    let source = "#include <time.h>\nint now(void) { struct timespec t; return clock_gettime(0, &t); }";
    let library = build(temp.path(), "x.so", source, &["-shared", "-nostartfiles"]);
    assert_snapshot!(judge("lib/x.so", Role::Library, &library, &rules), @"`lib/x.so` needs glibc 2.17 (symbol `clock_gettime@GLIBC_2.17`); the floor is 2.2");
    assert_eq!(judge("lib/x.so", Role::Library, &library, &Rules { glibc_max: (2, 17), ..ANY_GLIBC }), "");

    let source = "int a; int *b[] = { &a, &a, &a }; int main(void) { return b[0] != 0; }";
    let packed = build(temp.path(), "packed", source, &["-pie", "-Wl,-z,pack-relative-relocs"]);
    let found = judge("bin/packed", Role::Tool, &packed, &Rules { glibc_max: (2, 35), ..ANY_GLIBC });
    assert!(found.contains("needs glibc 2.36 (packed relocations, `GLIBC_ABI_DT_RELR`); the floor is 2.35"), "{found}");
}

#[test]
fn only_what_was_built_may_be_shipped_and_only_stripped() {
    let temp = tempfile::tempdir().unwrap();
    let tool = build(temp.path(), "tool", MAIN, &["-pie"]);
    let other = build(temp.path(), "other", "int main(void) { return 1; }", &["-pie"]);
    let judge = |shipped: &[u8]| {
        let file = File { name: "bin/tool", role: Role::Tool, built: &tool, shipped };
        lines(&check(&file, &ANY_GLIBC).unwrap())
    };
    assert_snapshot!(judge(&tool), @r"
    `bin/tool` still has its symbol table
    `bin/tool` still has debug sections
    `bin/tool` is not the stripped form of what was built
    ");
    assert_snapshot!(judge(&strip(&other).unwrap()), @"`bin/tool` is not the stripped form of what was built");
    let file = File { name: "bin/tool", role: Role::Tool, built: &tool, shipped: b"#!/bin/sh" };
    assert_eq!(check(&file, &ANY_GLIBC).unwrap_err().to_string(), "`bin/tool`: not an ELF file");
}

const DISPATCHED: &str = r#"
    #include <immintrin.h>
    __attribute__((target("avx2"), noinline)) static void find_avx2(__m256i *p) { *p = _mm256_add_epi32(p[1], p[2]); }
    __attribute__((target("sse4.2"), noinline)) static void find_sse42(__m256i *p) { *(unsigned *)p = _mm_crc32_u32(1, *(unsigned *)p); }
    void find(__m256i *p) { if (__builtin_cpu_supports("avx2")) find_avx2(p); else if (__builtin_cpu_supports("sse4.2")) find_sse42(p); }
"#;

#[test]
fn instructions_need_a_review() {
    let temp = tempfile::tempdir().unwrap();
    let library = build(temp.path(), "x.so", DISPATCHED, &["-shared"]);
    let found = judge("lib/x.so", Role::Library, &library, &ANY_GLIBC);
    let (before, places) = found.split_once(": ").unwrap();
    assert_eq!(before, "`lib/x.so` holds AVX, AVX2, SSE4_2 code outside reviewed functions");
    assert!(places.contains("`find_avx2") && places.contains("`find_sse42"), "{places}");

    let reviewed = |file, symbol, isas| Reviewed { file, symbol, isas, reason: "asks CPUID first" };
    let both = [reviewed("lib/*.so", "find_avx2*", &[]), reviewed("*", "find_sse42*", &["SSE4_2"])];
    let rules = Rules { reviewed: &both, ..ANY_GLIBC };
    assert_eq!(judge("lib/x.so", Role::Library, &library, &rules), "");
    assert!(judge("lib/x.dll", Role::Library, &library, &rules).contains("AVX2"));

    // An exception is for what it names only, and must be of use.
    let wrong = [both[0], reviewed("*", "find_sse42*", &["AVX2"])];
    let rules = Rules { reviewed: &wrong, ..ANY_GLIBC };
    let shipped = strip(&library).unwrap();
    let file = File { name: "lib/x.so", role: Role::Library, built: &library, shipped: &shipped };
    let found = lines(&check_all(&[file], &rules).unwrap());
    assert!(found.starts_with("`lib/x.so` holds SSE4_2 code outside reviewed functions: `find_sse42"), "{found}");
    assert!(
        found.ends_with("\nthe exception for `find_sse42*` in `*` (asks CPUID first) applies to nothing any more"),
        "{found}"
    );
}

const BACKEND: &str = r#"
    #include <immintrin.h>
    __attribute__((target("avx2,fma"), noinline)) float dot(__m256i *p, float a) {
        *p = _mm256_add_epi32(p[1], p[2]);
        return __builtin_fmaf(a, a, 1);
    }
    #ifdef WIDEST
    __attribute__((target("avx512f"))) void widest(__m512i *p) { *p = _mm512_add_epi32(p[1], p[2]); }
    #endif
    int ggml_backend_score(void) { return SCORE; }
    void *ggml_backend_init(void) { return dot; }
"#;

#[test]
fn a_backend_has_its_own_instructions_and_no_others() {
    let temp = tempfile::tempdir().unwrap();
    let backend = |flags: &[&str]| build(temp.path(), "b.so", BACKEND, &[&["-shared"], flags].concat());
    let judge =
        |built: &[u8], variant, features| judge("lib/b.so", Role::CpuBackend { variant, features }, built, &ANY_GLIBC);
    let good = backend(&["-DSCORE=1"]);
    assert_eq!(judge(&good, "haswell", &["AVX", "AVX2", "FMA"]), "");
    assert_snapshot!(judge(&good, "zen4", &["AVX", "AVX2", "FMA", "AVX512_VNNI", "MAGIC"]), @r"
    `lib/b.so` is built with `GGML_MAGIC`, of which we do not know the instructions
    `lib/b.so` holds no AVX512_VNNI code, which variant `zen4` must have
    ");
    assert_snapshot!(judge(&good, "sandybridge", &["AVX"]), @"`lib/b.so` holds AVX2, FMA code, which variant `sandybridge` must not have: `dot` at 0x..");
    let wide = backend(&["-DSCORE=1", "-DWIDEST"]);
    assert_snapshot!(judge(&wide, "haswell", &["AVX", "AVX2", "FMA"]), @"`lib/b.so` holds AVX512F code, which variant `haswell` must not have: `widest` at 0x..");
    let early = backend(&["-DSCORE=dot(0,1)"]);
    let found = judge(&early, "haswell", &["AVX", "AVX2", "FMA"]);
    assert!(found.contains("code on CPUs that may lack it, before or while it is asked for its score: `ggml_backend_score` -> `dot` at 0x.."), "{found}");
    let none = build(temp.path(), "n.so", "int x;", &["-shared"]);
    assert_snapshot!(judge(&none, "x64", &[]), @r"
    `lib/b.so` does not export `ggml_backend_score`
    `lib/b.so` does not export `ggml_backend_init`
    ");
    // SSE is encoded as AVX where there is AVX.
    assert!(judge(&good, "x", &["SSE42"]).contains("holds no SSSE3 code"));
    assert!(!judge(&good, "x", &["SSE42", "AVX"]).contains("SSSE3"));
}

#[test]
fn cpp_symbols_stay_inside() {
    let temp = tempfile::tempdir().unwrap();
    let source =
        "namespace ours { int one() { return 1; } int two() { return 2; } } extern \"C\" int three() { return 3; }";
    let library = build(temp.path(), "x.so", source, &["-shared", "-nostdlib"]);
    assert_snapshot!(judge("lib/x.so", Role::Library, &library, &ANY_GLIBC), @"`lib/x.so` exports `_ZN4ours3oneEv` and 1 more; such symbols must not cross the border of a library");
    let library = build(temp.path(), "x.so", source, &["-shared", "-nostdlib", "-fvisibility=hidden"]);
    assert_eq!(judge("lib/x.so", Role::Library, &library, &ANY_GLIBC), "");
}

#[test]
fn places_of_the_build_machine_are_found() {
    let temp = tempfile::tempdir().unwrap();
    let forbidden = [
        Forbidden { what: "the build directory", text: b"/build/me" },
        Forbidden { what: "a home directory", text: b"/home/" },
    ];
    let rules = Rules { forbidden: &forbidden, ..ANY_GLIBC };
    let source =
        "const char *where(void) { return \"in /build/me/x.c\"; } const char *again(void) { return \"/build/me\"; }";
    let flags = ["-shared", "-ffile-prefix-map=/=/home/me/"];
    let library = build(temp.path(), "x.so", source, &flags);
    // Debug information with `/home/` in it is gone with stripping.
    assert!(elf::leaks(&library, &[b"/home/"]).iter().any(
        |leak| leak.section.as_deref() == Some(".debug_str") || leak.section.as_deref() == Some(".debug_line_str")
    ));
    let found = judge("lib/x.so", Role::Library, &library, &rules);
    assert!(found.starts_with("`lib/x.so` names the build directory at 0x.. (.rodata"), "{found}");
    assert!(found.contains(") and 1 more: `") && !found.contains("home"), "{found}");
    let data = File { name: "share/notes", role: Role::Data, built: b"", shipped: b"by /home/me\n" };
    assert_snapshot!(lines(&check(&data, &rules).unwrap()), @"`share/notes` names a home directory at 0x..: `by /home/me`");
}
