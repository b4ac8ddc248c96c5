//! Artefacts with every tool of a build, but little in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use artefact::{Split, pack};
use build_info::{BuildId, BuildInfo};
use llama_build::product::TOOLS;
use oci::{Descriptor, Document, Index, Layout, Manifest, ReadLayout};
use testkit::noise;

/// A layout with an artefact that nobody has signed.
pub(crate) struct Artefact {
    pub(crate) layout: Layout,
    pub(crate) id: BuildId,
    /// What its tools say.
    pub(crate) says: &'static str,
}

/// The bytes of a layout: packing takes a second, and several tests change their copy.
struct Template {
    files: BTreeMap<PathBuf, Vec<u8>>,
    id: BuildId,
}

static V1: LazyLock<Template> = LazyLock::new(|| pack("v1", 1));
static V2: LazyLock<Template> = LazyLock::new(|| pack("v2", 2));

/// Bytes that do not compress, so that the layer is large enough to be cut.
const FILLER: usize = 6_000_000;
/// Bytes that do: more than the whole layer has.
const ZEROS: usize = 9_000_000;

pub(crate) fn v1(dir: &Path) -> Artefact {
    V1.write(dir, "v1")
}

pub(crate) fn v2(dir: &Path) -> Artefact {
    V2.write(dir, "v2")
}

impl Template {
    /// Writes the layout into the directory of that name.
    fn write(&self, dir: &Path, says: &'static str) -> Artefact {
        let root = dir.join(says);
        for (path, bytes) in &self.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        Artefact { layout: Layout::open(&root).unwrap(), id: self.id.clone(), says }
    }
}

impl Artefact {
    /// `oci:DIR`.
    pub(crate) fn reference(&self) -> String {
        format!("oci:{}", self.dir())
    }

    pub(crate) fn dir(&self) -> &str {
        self.layout.root().to_str().unwrap()
    }

    /// What the tag names.
    pub(crate) fn index(&self) -> Descriptor {
        self.layout.resolve(None).unwrap()
    }

    /// The manifest of the build.
    pub(crate) fn manifest(&self) -> (Descriptor, Manifest) {
        let (Document::Index(index), _) = self.layout.document(&self.index()).unwrap() else { panic!("no index") };
        let (Document::Manifest(manifest), _) = self.layout.document(&index.manifests[0]).unwrap() else {
            panic!("no manifest")
        };
        (index.manifests[0].clone(), manifest)
    }

    pub(crate) fn layer(&self) -> Descriptor {
        self.manifest().1.layers[0].clone()
    }

    /// Lets the tag name an index of a manifest that was changed, or whose entry was.
    pub(crate) fn change(&self, manifest: impl FnOnce(&mut Manifest), entry: impl FnOnce(&mut Descriptor)) {
        let (descriptor, mut changed) = self.manifest();
        manifest(&mut changed);
        let mut stored = self.layout.put_manifest(&changed).unwrap();
        stored.platform = descriptor.platform;
        entry(&mut stored);
        let tag = self.index().tag().unwrap().to_owned();
        self.layout.tag(&self.layout.put_index(&Index::new(vec![stored])).unwrap(), &tag).unwrap();
    }
}

/// Builds, seals and packs.
fn pack(says: &str, seed: u64) -> Template {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    build(&tree, says, seed);
    artefact::seal(&tree, info()).unwrap();
    let layout = Layout::create(&dir.path().join("layout")).unwrap();
    let plan = pack::Plan::new(&tree, Split::One, "https://example.org/caravan").unwrap();
    let packed = plan.run(&layout).unwrap();
    assert!(packed.layers[0].descriptor.size as usize > FILLER);
    assert!((packed.layers[0].descriptor.size as usize) < ZEROS);
    pack::publish(&layout, &[packed], says).unwrap();
    let mut files = BTreeMap::new();
    read(layout.root(), Path::new(""), &mut files);
    Template { files, id: plan.id().clone() }
}

fn read(root: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            read(root, &path, files);
        } else {
            files.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

const LIBRARY: &str = "const char *answer(void) { return ANSWER; }\n";

/// Says what the library says. With a marker it writes its process id there and hangs, so that a test can act while a tool
/// runs.
const TOOL: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
const char *answer(void);
int main(int argc, char **argv) {
    const char *marker = getenv("TOOL_MARKER");
    if (marker) {
        char staged[4096];
        snprintf(staged, sizeof staged, "%s.staged", marker);
        FILE *file = fopen(staged, "w");
        fprintf(file, "%d", (int)getpid());
        fclose(file);
        rename(staged, marker);
        sleep(600);
    }
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        fputs("usage\n", stderr);
        return 1;
    }
    puts(answer());
    return 0;
}
"#;

/// The name by which [`TOOL`] asks for a marker.
pub(crate) const MARKER: &str = "TOOL_MARKER";

fn build(tree: &Path, says: &str, seed: u64) {
    let [bin, lib, share] = ["bin", "lib", "share/licenses/llama.cpp"].map(|name| tree.join(name));
    for dir in [&bin, &lib, &share] {
        fs::create_dir_all(dir).unwrap();
    }
    let [library, tool] = [("library.c", LIBRARY), ("tool.c", TOOL)].map(|(name, code)| {
        let path = tree.with_file_name(name);
        fs::write(&path, code).unwrap();
        path
    });
    compile(
        Command::new("cc")
            .args(["-shared", "-fPIC", &format!("-DANSWER=\"{says}\""), "-o"])
            .arg(lib.join("libfake.so"))
            .arg(library),
    );
    let first = bin.join(TOOLS[0].name);
    compile(
        Command::new("cc")
            .arg("-o")
            .arg(&first)
            .arg(tool)
            .arg("-L")
            .arg(&lib)
            .args(["-lfake", "-Wl,-rpath,$ORIGIN/../lib"]),
    );
    for other in &TOOLS[1..] {
        fs::copy(&first, bin.join(other.name)).unwrap();
    }
    fs::write(lib.join("filler.bin"), noise(seed, FILLER)).unwrap();
    fs::write(lib.join("zeros.bin"), vec![0; ZEROS]).unwrap();
    fs::write(share.join("LICENSE"), "Permission is hereby granted, free of charge, to any person\n").unwrap();
}

fn compile(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn info() -> BuildInfo {
    let json = br#"{
        "schema_version": 1, "build_type": "portable", "date": "2026-10-01T00:00:00Z", "hostname": null,
        "cpu_model": null, "cpu_flags": null, "cmake_flags": ["-DGGML_NATIVE=OFF"], "llama_version": "0.5.0",
        "llama_commit": "0c1e57098bba43ac29e6e3b677cdceebdd22334f",
        "llama_tree": "b2da53584951ec8aa40680229509a6646a637560", "patches": [], "compiler": "cc",
        "reproducible": true, "optimal_threads": null, "variants": ["x64"], "glibc_floor": "2.27",
        "blas": { "enabled": false, "reason": "not in portable builds" }, "lto": false
    }"#;
    BuildInfo::from_json(json, Path::new("artefacts.rs")).unwrap()
}
