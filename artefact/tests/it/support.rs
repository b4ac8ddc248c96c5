//! A small build, its image, and archives made by hand.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use artefact::pack::{Packed, Plan};
use artefact::{Split, seal};
use build_info::{Blas, BuildInfo, BuildKind, Extra, Patch, Sha256Digest};
use diagnostic::Result;
use oci::{Descriptor, Layout, Manifest, ReadLayout};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

pub(crate) const COMMIT: &str = "0c1e57098bba43ac29e6e3b677cdceebdd22334f";
pub(crate) const SOURCE: &str = "https://example.org/caravan";

pub(crate) fn info() -> BuildInfo {
    BuildInfo {
        schema_version: 1,
        build_type: BuildKind::Portable,
        date: "2026-10-01T00:00:00Z".parse().unwrap(),
        hostname: None,
        cpu_model: None,
        cpu_flags: None,
        cmake_flags: vec!["-DGGML_NATIVE=OFF".to_owned()],
        llama_version: "0.5.0".to_owned(),
        llama_commit: COMMIT.to_owned(),
        llama_tree: "b2da53584951ec8aa40680229509a6646a637560".to_owned(),
        patches: vec![Patch { name: "0001-a.patch".to_owned(), sha256: sha256(b"a patch"), extra: Extra::new() }],
        compiler: "zig 0.15.2 (clang 20.1.2)".to_owned(),
        tools: [("cmake", "3.31.0"), ("ninja", "1.12.1")].map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
        reproducible: true,
        optimal_threads: None,
        variants: vec!["x64".to_owned(), "haswell".to_owned()],
        glibc_floor: Some("2.27".to_owned()),
        blas: Blas {
            enabled: false,
            vendor: None,
            version: None,
            reason: "not in portable builds".to_owned(),
            measured: None,
            extra: Extra::new(),
        },
        lto: false,
        openssl: None,
        digests: BTreeMap::new(),
        extra: Extra::new(),
    }
}

/// The beginning of an ELF file for x86-64, and then some text.
pub(crate) fn elf(text: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18] = 62;
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

pub(crate) fn write(root: &Path, path: &str, content: &[u8], mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
}

/// Fills a directory with an unsealed build.
pub(crate) fn stage(root: &Path) {
    write(root, "bin/llama-server", &elf("a server"), 0o755);
    write(root, "bin/llama-bench", &elf("a benchmark"), 0o755);
    write(root, "lib/libggml.so", &elf("tensors"), 0o644);
    write(root, "lib/libggml-cpu-x64.so", &elf("a backend"), 0o644);
    write(root, "lib/libggml-cpu-haswell.so", &elf("another backend"), 0o644);
    write(root, "share/licenses/llama.cpp/LICENSE", b"Permission is hereby granted, free of charge", 0o644);
    write(root, "share/licenses/llama.cpp/LICENSE-jsonhpp", b"Permission is hereby granted, free of charge", 0o644);
    write(root, "share/licenses/zig/LICENSE", b"Apache License Version 2.0 with LLVM Exceptions", 0o644);
    write(root, "share/licenses/odd/NOTICE", b"ask us", 0o644);
}

/// A sealed build in a directory of its own.
pub(crate) fn sealed() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    stage(dir.path());
    seal(dir.path(), info()).unwrap();
    dir
}

/// An image in a layout.
pub(crate) struct Image {
    pub(crate) dir: TempDir,
    pub(crate) layout: Layout,
    pub(crate) packed: Packed,
}

pub(crate) fn image(split: Split) -> Image {
    let (tree, dir) = (sealed(), tempfile::tempdir().unwrap());
    let layout = Layout::create(&dir.path().join("layout")).unwrap();
    let packed = Plan::new(tree.path(), split, SOURCE).unwrap().run(&layout).unwrap();
    Image { dir, layout, packed }
}

impl Image {
    pub(crate) fn manifest(&self) -> Manifest {
        let (document, _) = self.layout.document(&self.packed.manifest).unwrap();
        let oci::Document::Manifest(manifest) = document else { panic!("not a manifest") };
        manifest
    }
}

/// What opens the blobs of a layout, as the installer does.
pub(crate) fn blobs(layout: &Layout) -> impl FnMut(&Descriptor) -> Result<Box<dyn Read + Send>> {
    |descriptor| Ok(Box::new(layout.open_blob(descriptor)?))
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::new(Sha256::digest(bytes).into())
}

/// Path, mode and content of every file and directory below a directory, sorted.
pub(crate) fn listing(root: &Path) -> Vec<(String, u32, Option<Vec<u8>>)> {
    fn descend(root: &Path, directory: &Path, found: &mut Vec<(String, u32, Option<Vec<u8>>)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            assert!(!metadata.is_symlink(), "{} is a link", path.display());
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let content = metadata.is_file().then(|| fs::read(&path).unwrap());
            found.push((name, metadata.permissions().mode() & 0o7777, content));
            if metadata.is_dir() {
                descend(root, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    descend(root, root, &mut found);
    found.sort();
    found
}

/// Bytes of an entry of a tar, its header taken as it is.
pub(crate) fn entry(name: &str, kind: tar::EntryType, mode: u32, size: u64, data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..3].copy_from_slice(b"bin");
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(1000);
    header.set_size(size);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub(crate) fn file(name: &str, data: &[u8]) -> Vec<u8> {
    entry(name, tar::EntryType::Regular, 0o644, data.len() as u64, data)
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
