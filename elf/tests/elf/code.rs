//! Instructions are found where the compiler was told to put them, and what runs early is told from what runs late.

use std::collections::BTreeSet;

use crate::support::compile;
use elf::{Code, Encoding, Isa};

fn code(source: &str, flags: &[&str]) -> Code {
    let temp = tempfile::tempdir().unwrap();
    let flags = [&["-O2", "-fPIC"], flags].concat();
    Code::of(&elf::read(&compile(temp.path(), "gcc", source, "x.so", &flags)).unwrap()).unwrap()
}

fn isa(name: &str) -> Isa {
    Isa::named(name).unwrap()
}

const LEVELS: &str = r#"
    #include <x86intrin.h>
    #define ON(what) __attribute__((target(what), noinline))
    ON("avx2") void wide(__m256i *p) { *p = _mm256_add_epi32(p[1], p[2]); }
    ON("avx512f") void widest(__m512i *p) { *p = _mm512_add_epi32(p[1], p[2]); }
    ON("avx512vnni") void dots(__m512i *p) { *p = _mm512_dpbusd_epi32(*p, p[1], p[2]); }
    ON("fma") float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
    ON("sse4.2") unsigned check(unsigned a, unsigned b) { return _mm_crc32_u32(a, b); }
    ON("bmi2") unsigned long bits(unsigned long a, unsigned long b) { return _pdep_u64(a, b); }
    ON("xop") void amd(__m128i *p) { *p = _mm_rot_epi32(*p, p[1]); }
    ON("amx-tile") void tiles(void) { _tile_release(); }
    int plain(int a, float *f, int n) { for (int i = 0; i < n; i++) f[i] += f[i + n]; return __builtin_ctz(a); }
"#;

fn isas(code: &Code, function: &str) -> BTreeSet<String> {
    let uses = code.uses.iter().filter(|found| found.function.as_deref() == Some(function));
    uses.flat_map(|found| found.isas).map(ToString::to_string).collect()
}

fn encodings(code: &Code, function: &str) -> BTreeSet<Encoding> {
    code.uses.iter().filter(|found| found.function.as_deref() == Some(function)).map(|found| found.encoding).collect()
}

#[test]
fn each_instruction_belongs_to_its_function() {
    let code = code(LEVELS, &["-shared"]);
    assert!(isas(&code, "wide").contains("AVX2"));
    assert!(isas(&code, "widest").contains("AVX512F"));
    assert!(isas(&code, "dots").contains("AVX512_VNNI"));
    assert!(isas(&code, "fused").contains("FMA"));
    assert_eq!(isas(&code, "check"), ["SSE4_2".to_owned()].into());
    assert_eq!(isas(&code, "bits"), ["BMI2".to_owned()].into());
    assert!(isas(&code, "amd").contains("XOP"));
    assert_eq!(isas(&code, "tiles"), ["AMX_TILE".to_owned()].into());
    assert_eq!(isas(&code, "plain"), BTreeSet::new());
    for (function, encoding) in [
        ("wide", Encoding::Vex),
        ("widest", Encoding::Evex),
        ("check", Encoding::Legacy),
        ("amd", Encoding::Xop),
        ("tiles", Encoding::Vex),
    ] {
        assert!(encodings(&code, function).contains(&encoding), "{function} {encoding}");
    }
    let other = code.uses.iter().filter(|found| found.function.is_none()).count();
    assert_eq!((other, code.undecoded.len()), (0, 0));
    assert!(code.instructions > 20);
    assert_eq!(code.isas()[&isa("AVX512_VNNI")].0.function.as_deref(), Some("dots"));
    assert_eq!(Isa::named("AVX9000"), None);
}

#[test]
fn without_symbols_code_is_still_seen() {
    let temp = tempfile::tempdir().unwrap();
    let source = "#include <immintrin.h>
        __attribute__((target(\"avx2\"))) static void wide(__m256i *p) { *p = _mm256_add_epi32(p[1], p[2]); }
        void *plain(void) { return wide; }";
    let bytes = elf::read(&compile(temp.path(), "gcc", source, "x.so", &["-O2", "-shared", "-fPIC"])).unwrap();
    let code = Code::of(&elf::strip(&bytes).unwrap()).unwrap();
    assert!(code.isas().contains_key(&isa("AVX2")));
    assert!(code.uses.iter().all(|found| found.function.is_none() && found.section == ".text"));
}

#[test]
fn data_in_code_does_not_hide_what_follows() {
    // The first bytes of an instruction of ten bytes stand before `wide`; read on, they would swallow its start.
    let source = r#"
        __asm__(".text\n.globl hole\n.type hole,@function\nhole: ret\n.byte 0x48, 0xb8\n.size hole, 3\n"
                ".globl wide\n.type wide,@function\nwide: vzeroupper\nvpaddd %ymm0,%ymm1,%ymm2\nret\n.size wide, 8\n"
                ".globl bad\n.type bad,@function\nbad: .byte 0x06\nret\n.size bad, 2\n");
    "#;
    let code = code(source, &["-shared"]);
    let wide: u64 =
        code.uses.iter().filter(|found| found.function.as_deref() == Some("wide")).map(|found| found.count).sum();
    assert_eq!(wide, 2);
    let undecoded: Vec<_> = code.undecoded.iter().map(|bad| bad.function.as_str()).collect();
    assert_eq!(undecoded, ["hole", "bad"]);
}

/// A backend of which one part is compiled for a CPU that may not be there.
const BACKEND: &str = r#"
    #include <immintrin.h>
    #include <stdlib.h>
    #define WIDE __attribute__((target("avx2"), noinline))
    static __m256i memory[3];
    WIDE void kernel(void) { memory[0] = _mm256_add_epi32(memory[1], memory[2]); }
    WIDE static void hidden(void) { memory[0] = _mm256_sub_epi32(memory[1], memory[2]); }
    void (*table[])(void) = { hidden, kernel };
    __attribute__((noinline)) static void inner(void) { AT_INNER; }
    static void chosen(void) { AT_EXIT; }
    __attribute__((constructor)) static void start(void) { AT_START; }
    __attribute__((destructor)) static void stop(void) { AT_STOP; }
    int ggml_backend_score(void) { inner(); atexit(chosen); AT_SCORE; return 1; }
    void *ggml_backend_init(void) { kernel(); return table; }
"#;

fn early(place: &str, what: &str) -> Vec<Vec<String>> {
    let flags: Vec<String> = ["INNER", "EXIT", "START", "STOP", "SCORE"]
        .iter()
        .map(|name| format!("-DAT_{name}={}", if *name == place { what } else { "(void)0" }))
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["-shared"]).collect();
    let code = code(BACKEND, &flags);
    let reach = code.reach(&["ggml_backend_score"]);
    assert_eq!(reach.missing, Vec::<String>::new());
    assert!(reach.functions.iter().any(|reached| reached.function == "ggml_backend_score"));
    reach.uses.iter().map(|(_, chain)| chain.clone()).collect()
}

#[test]
fn what_runs_before_the_score_is_known_is_found() {
    assert_eq!(early("", ""), Vec::<Vec<String>>::new(), "kernels may be anything");
    for (place, what, chain) in [
        // An exported function is called through the procedure linkage table.
        ("SCORE", "kernel()", &["ggml_backend_score", "kernel"][..]),
        ("SCORE", "hidden()", &["ggml_backend_score", "hidden"]),
        ("INNER", "kernel()", &["ggml_backend_score", "inner", "kernel"]),
        ("START", "hidden()", &[".init_array", "start", "hidden"]),
        ("STOP", "hidden()", &[".fini_array", "stop", "hidden"]),
        ("EXIT", "hidden()", &["ggml_backend_score", "chosen", "hidden"]),
    ] {
        let chains = early(place, what);
        assert!(!chains.is_empty(), "{place}");
        // A last call may have become a jump from the caller's caller.
        for found in chains {
            assert_eq!(
                (found.first().unwrap().as_str(), found.last().unwrap().as_str()),
                (chain[0], chain[chain.len() - 1])
            );
        }
    }
}

#[test]
fn calls_through_the_global_offset_table_are_followed() {
    let temp = tempfile::tempdir().unwrap();
    let source = BACKEND.replace("AT_SCORE", "kernel()").replace("AT_", "(void)");
    let source = source.replace("(void)INNER", "0").replace("(void)EXIT", "0").replace("(void)START", "0");
    let source = source.replace("(void)STOP", "0");
    for flags in [&["-fno-plt"][..], &["-Wl,-z,now"], &["-Wl,-z,pack-relative-relocs"]] {
        let flags = [&["-O2", "-shared", "-fPIC"], flags].concat();
        let path = compile(temp.path(), "gcc", &source, "x.so", &flags);
        let code = Code::of(&elf::read(&path).unwrap()).unwrap();
        let reach = code.reach(&["ggml_backend_score"]);
        assert!(reach.uses.iter().any(|(found, _)| found.function.as_deref() == Some("kernel")), "{flags:?}");
        assert!(!reach.functions.iter().any(|reached| reached.function == "hidden"));
    }
}

#[test]
fn resolvers_run_at_loading_and_missing_entries_are_named() {
    let source = r#"
        #include <immintrin.h>
        static void plain(void) {}
        __attribute__((target("avx2"), noinline)) static void *choose(void) {
            volatile __m256i x = _mm256_set1_epi32(1); (void)x; return plain;
        }
        void run(void) __attribute__((ifunc("choose")));
        void call(void) { run(); }
    "#;
    let code = code(source, &["-shared"]);
    let reach = code.reach(&["ggml_backend_score"]);
    assert_eq!(reach.missing, ["ggml_backend_score"]);
    assert!(reach.uses.iter().any(|(found, _)| found.isas.contains(&isa("AVX2"))), "{reach:?}");
}
