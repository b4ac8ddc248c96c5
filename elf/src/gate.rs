//! The rules that every file of a portable build must keep, and what breaks them.
//!
//! ```
//! use elf::gate::{File, Role, Rules, check};
//!
//! let rules = Rules { forbidden: &[], ..Rules::llama_cpp((2, 28)) };
//! let file = File { name: "share/notes.txt", role: Role::Data, built: b"", shipped: b"free of secrets" };
//! assert!(check(&file, &rules)?.is_empty());
//! # Ok::<(), diagnostic::Error>(())
//! ```

use std::collections::BTreeSet;
use std::fmt;

use diagnostic::Result;

use crate::code::{Code, Use, names};
use crate::facts::{Facts, Kind, Machine};
use crate::isa::{Feature, Isa};
use crate::{Version, leaks, pattern, strip};

/// More functions of one file are counted, not named.
const NAMED: usize = 5;
/// The functions that a CPU backend must offer; the first one is called on every CPU.
const BACKEND_EXPORTS: [&str; 2] = ["ggml_backend_score", "ggml_backend_init"];
/// The loader's own mark for relative relocations in packed form; glibc knows it since then.
const PACKED_RELOCATIONS: (&str, (u32, u32)) = ("GLIBC_ABI_DT_RELR", (2, 36));

/// Text that no shipped file may hold.
#[derive(Clone, Copy, Debug)]
pub struct Forbidden<'a> {
    /// What it is, for the message: `the build directory`.
    pub what: &'a str,
    /// The text.
    pub text: &'a [u8],
}

/// Functions that hold code which not every CPU can run, and never run there: someone has looked.
#[derive(Clone, Copy, Debug)]
pub struct Reviewed<'a> {
    /// Which files; `*` stands for any text.
    pub file: &'a str,
    /// Which symbols, mangled; `*` stands for any text.
    pub symbol: &'a str,
    /// Which extensions; empty: all.
    pub isas: &'a [&'a str],
    /// Why it is right.
    pub reason: &'a str,
}

/// What a portable build may ask for and hold.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The newest glibc that may be needed, major and minor.
    pub glibc_max: (u32, u32),
    /// Libraries of the system that every machine has.
    pub needed_allowed: &'a [&'a str],
    /// Libraries that are shipped along; `*` stands for any text.
    pub own_libraries: &'a [&'a str],
    /// Dynamic linkers that executables may name.
    pub interpreters: &'a [&'a str],
    /// Symbols that must not be exported; `*` stands for any text.
    pub hidden: &'a [&'a str],
    /// Texts that must not be in shipped files.
    pub forbidden: &'a [Forbidden<'a>],
    /// Exceptions for instructions.
    pub reviewed: &'a [Reviewed<'a>],
}

impl Rules<'static> {
    /// Rules for llama.cpp's tools, libraries and CPU backends: this glibc, its own libraries, C interfaces only. What is
    /// forbidden and reviewed is for the caller to add.
    pub fn llama_cpp(glibc_max: (u32, u32)) -> Rules<'static> {
        Rules {
            glibc_max,
            needed_allowed: &[
                "ld-linux-aarch64.so.1",
                "ld-linux-x86-64.so.2",
                "libc.so.6",
                "libdl.so.2",
                "libm.so.6",
                "libpthread.so.0",
            ],
            own_libraries: &["libggml.so", "libggml-base.so"],
            interpreters: &["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"],
            // Every library has its own C++ runtime: what crosses their borders is C.
            hidden: &["_Z*"],
            forbidden: &[],
            reviewed: &[],
        }
    }
}

/// What a file is for.
#[derive(Clone, Copy, Debug)]
pub enum Role<'a> {
    /// An executable, started on every CPU.
    Tool,
    /// A shared library, loaded on every CPU.
    Library,
    /// A CPU backend: loaded on every CPU to be asked for its score, run where it fits.
    CpuBackend {
        /// The variant's name.
        variant: &'a str,
        /// Its options as ggml lists them, without `GGML_`: `AVX2`, `AVX512_VNNI`.
        features: &'a [&'a str],
    },
    /// Not a program: only its bytes are searched.
    Data,
}

/// One file of a build.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its path in the build, for messages and exceptions: `lib/libggml.so`.
    pub name: &'a str,
    /// What it is for.
    pub role: Role<'a>,
    /// The file as the linker (and [`stamp`](crate::stamp)) left it, with its symbols; not used for data.
    pub built: &'a [u8],
    /// The file as it is shipped.
    pub shipped: &'a [u8],
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// A sentence that begins with the file's name.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Checks one file.
///
/// Instructions are looked at in x86-64 files only; of arm64 files all else is checked.
///
/// # Errors
/// The file is damaged, or no ELF file although its role asks for one.
pub fn check(file: &File<'_>, rules: &Rules<'_>) -> Result<Vec<Finding>> {
    check_with(file, rules, &mut BTreeSet::new())
}

/// Checks all files of a build, and the build: a library of ours that a file needs must be among them (by the last part
/// of its name), and an exception that applies to nothing any more is a finding.
///
/// # Errors
/// As [`check`].
pub fn check_all(files: &[File<'_>], rules: &Rules<'_>) -> Result<Vec<Finding>> {
    let mut used = BTreeSet::new();
    let mut findings = Vec::new();
    let shipped: BTreeSet<&str> = files.iter().map(|file| last_part(file.name)).collect();
    for file in files {
        findings.extend(check_with(file, rules, &mut used)?);
        if matches!(file.role, Role::Data) {
            continue;
        }
        let needed = Facts::of(file.shipped)?.needed;
        let own = needed.iter().filter(|name| pattern::any(rules.own_libraries, name));
        for missing in own.filter(|name| !shipped.contains(name.as_str())) {
            findings.push(finding(file, format_args!("needs our own `{missing}`, which is not shipped")));
        }
    }
    for (_, reviewed) in rules.reviewed.iter().enumerate().filter(|(position, _)| !used.contains(position)) {
        let Reviewed { file, symbol, reason, .. } = reviewed;
        let message = format!("the exception for `{symbol}` in `{file}` ({reason}) applies to nothing any more");
        findings.push(Finding { file: (*file).to_owned(), message });
    }
    Ok(findings)
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn finding(file: &File<'_>, what: fmt::Arguments<'_>) -> Finding {
    Finding { file: file.name.to_owned(), message: format!("`{}` {what}", file.name) }
}

fn check_with(file: &File<'_>, rules: &Rules<'_>, used: &mut BTreeSet<usize>) -> Result<Vec<Finding>> {
    let mut findings = Findings { file, found: Vec::new() };
    let damaged = |error: diagnostic::Error| error.context(format!("`{}`", file.name));
    if !matches!(file.role, Role::Data) {
        let facts = Facts::of(file.shipped).map_err(damaged)?;
        check_libraries(&mut findings, &facts, rules);
        check_glibc(&mut findings, &facts, rules);
        check_loading(&mut findings, &facts, rules);
        check_exports(&mut findings, &facts, rules);
        // Code is looked at where it has names; it must be the code that is shipped.
        if strip(file.built).map_err(damaged)? != file.shipped {
            findings.add(format_args!("is not the stripped form of what was built"));
        }
        if facts.machine == Machine::X86_64 {
            let code = Code::of(file.built).map_err(damaged)?;
            check_code(&mut findings, &code, rules, used);
        }
    }
    check_texts(&mut findings, rules);
    Ok(findings.found)
}

struct Findings<'a> {
    file: &'a File<'a>,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, what: fmt::Arguments<'_>) {
        self.found.push(finding(self.file, what));
    }
}

fn check_libraries(findings: &mut Findings<'_>, facts: &Facts, rules: &Rules<'_>) {
    for name in &facts.needed {
        if !rules.needed_allowed.contains(&name.as_str()) && !pattern::any(rules.own_libraries, name) {
            findings.add(format_args!("needs `{name}`, which is not on the list"));
        }
    }
    for path in &facts.search {
        let (tag, directory) = (path.tag, &path.directory);
        if !(directory == "$ORIGIN" || directory.starts_with("$ORIGIN/")) {
            findings
                .add(format_args!("searches libraries in `{directory}` ({tag}), which does not begin with `$ORIGIN`"));
        }
    }
}

fn check_glibc(findings: &mut Findings<'_>, facts: &Facts, rules: &Rules<'_>) {
    let (major, minor) = rules.glibc_max;
    let floor = Version::new(major, minor);
    let too_new = facts.required.iter().filter(|required| required.family == "GLIBC" && required.version > floor);
    for required in too_new {
        let version = &required.version;
        match required.symbols.first() {
            Some(symbol) => findings
                .add(format_args!("needs glibc {version} (symbol `{symbol}@GLIBC_{version}`); the floor is {floor}")),
            None => findings.add(format_args!("needs glibc {version}; the floor is {floor}")),
        }
    }
    for (library, name) in &facts.unnumbered {
        let (packed, (major, minor)) = PACKED_RELOCATIONS;
        let since = Version::new(major, minor);
        if name != packed {
            findings.add(format_args!("needs `{name}` of `{library}`, which is no stable version"));
        } else if since > floor {
            findings.add(format_args!("needs glibc {since} (packed relocations, `{name}`); the floor is {floor}"));
        }
    }
}

fn check_loading(findings: &mut Findings<'_>, facts: &Facts, rules: &Rules<'_>) {
    let is_tool = matches!(findings.file.role, Role::Tool);
    match facts.kind {
        Kind::FixedExecutable => findings.add(format_args!("is not position independent")),
        Kind::PieExecutable if !is_tool => findings.add(format_args!("is an executable, not a shared library")),
        Kind::SharedLibrary if is_tool => findings.add(format_args!("is a shared library, not an executable")),
        Kind::Other => findings.add(format_args!("is neither an executable nor a shared library")),
        Kind::PieExecutable | Kind::SharedLibrary => {}
    }
    if let Some(interpreter) = facts.interpreter.as_deref().filter(|name| !rules.interpreters.contains(name)) {
        findings.add(format_args!("asks for the dynamic linker `{interpreter}`, which is not the usual one"));
    }
    for (broken, what) in [
        (facts.executable_stack, "has an executable stack"),
        (facts.writable_code, "has code that is writable"),
        (facts.text_relocations, "has relocations in code"),
        (facts.symbol_table, "still has its symbol table"),
        (facts.debug_sections, "still has debug sections"),
    ] {
        if broken {
            findings.add(format_args!("{what}"));
        }
    }
}

fn check_exports(findings: &mut Findings<'_>, facts: &Facts, rules: &Rules<'_>) {
    let leaked: Vec<_> = facts.exports.iter().filter(|name| pattern::any(rules.hidden, name)).collect();
    if let [first, rest @ ..] = leaked.as_slice() {
        let more = more(rest.len());
        findings.add(format_args!("exports `{first}`{more}; such symbols must not cross the border of a library"));
    }
    if matches!(findings.file.role, Role::CpuBackend { .. }) {
        for name in BACKEND_EXPORTS.into_iter().filter(|name| !facts.exports.contains(*name)) {
            findings.add(format_args!("does not export `{name}`"));
        }
    }
}

fn more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}

fn check_code(findings: &mut Findings<'_>, code: &Code, rules: &Rules<'_>, used: &mut BTreeSet<usize>) {
    let name = findings.file.name;
    let mut is_reviewed = |found: &Use, isa: Isa| {
        let symbol = found.function.as_deref().unwrap_or_default();
        let fits = |reviewed: &Reviewed<'_>| {
            pattern::matches(reviewed.file, name)
                && pattern::matches(reviewed.symbol, symbol)
                && (reviewed.isas.is_empty() || reviewed.isas.iter().any(|name| Isa::named(name) == Some(isa)))
        };
        let position = rules.reviewed.iter().position(fits);
        used.extend(position);
        position.is_some()
    };
    let (allowed, certain) = match findings.file.role {
        Role::CpuBackend { features, .. } => options(findings, features),
        _ => Default::default(),
    };

    let mut excess = ByFunction::default();
    for found in &code.uses {
        let over = found.isas.iter().filter(|isa| !allowed.contains(isa) && !is_reviewed(found, **isa));
        excess.add(found, over.copied().collect());
    }
    match findings.file.role {
        Role::CpuBackend { variant, .. } => {
            excess.report(findings, |isas| format!("holds {isas} code, which variant `{variant}` must not have:"));
            let found = code.isas();
            for missing in certain.iter().filter(|isa| !found.contains_key(isa)) {
                findings.add(format_args!("holds no {missing} code, which variant `{variant}` must have"));
            }
            let reach = code.reach(&BACKEND_EXPORTS[..1]);
            for (found, chain) in &reach.uses {
                let over: Vec<Isa> = found.isas.iter().copied().filter(|isa| !is_reviewed(found, *isa)).collect();
                if over.is_empty() {
                    continue;
                }
                findings.add(format_args!(
                    "runs {} code on CPUs that may lack it, before or while it is asked for its score: `{}` at {:#x}",
                    names(over),
                    chain.join("` -> `"),
                    found.address
                ));
            }
        }
        _ => excess.report(findings, |isas| format!("holds {isas} code outside reviewed functions:")),
    }
    if let [first, rest @ ..] = code.undecoded.as_slice() {
        let more = more(rest.len());
        findings.add(format_args!(
            "holds bytes in `{}` at {:#x}{more} that are no instruction we know",
            first.function, first.address
        ));
    }
}

/// What the options of a variant allow, and what they make certain.
fn options(findings: &mut Findings<'_>, features: &[&str]) -> (BTreeSet<Isa>, BTreeSet<Isa>) {
    let (mut allowed, mut certain) = (BTreeSet::new(), BTreeSet::new());
    for name in features {
        let Some(feature) = Feature::named(name) else {
            findings.add(format_args!("is built with `GGML_{name}`, of which we do not know the instructions"));
            continue;
        };
        allowed.extend(feature.allowed);
        // With AVX, SSE instructions are encoded as AVX.
        if *name != "SSE42" || !features.contains(&"AVX") {
            certain.extend(feature.certain);
        }
    }
    (allowed, certain)
}

/// Functions with instructions that they must not have.
#[derive(Default)]
struct ByFunction {
    isas: BTreeSet<Isa>,
    /// Place and first address.
    functions: Vec<(String, u64)>,
}

impl ByFunction {
    /// The uses of one function follow one another.
    fn add(&mut self, found: &Use, isas: BTreeSet<Isa>) {
        if !isas.is_empty() && self.functions.last().is_none_or(|(place, _)| *place != found.place()) {
            self.functions.push((found.place(), found.address));
        }
        self.isas.extend(isas);
    }

    fn report(self, findings: &mut Findings<'_>, sentence: impl FnOnce(String) -> String) {
        if self.functions.is_empty() {
            return;
        }
        let places = self.functions.iter().take(NAMED).map(|(place, address)| format!("`{place}` at {address:#x}"));
        let places = places.collect::<Vec<_>>().join(", ");
        let more = more(self.functions.len().saturating_sub(NAMED));
        findings.add(format_args!("{} {places}{more}", sentence(names(self.isas))));
    }
}

fn check_texts(findings: &mut Findings<'_>, rules: &Rules<'_>) {
    let texts: Vec<&[u8]> = rules.forbidden.iter().map(|forbidden| forbidden.text).collect();
    let found = leaks(findings.file.shipped, &texts);
    for (position, forbidden) in rules.forbidden.iter().enumerate() {
        let mut places = found.iter().filter(|leak| leak.needle == position);
        let Some(first) = places.next() else { continue };
        let more = more(places.count());
        let section = first.section.as_ref().map(|section| format!(" ({section})")).unwrap_or_default();
        findings.add(format_args!("names {} at {:#x}{section}{more}: `{}`", forbidden.what, first.offset, first.text));
    }
}
