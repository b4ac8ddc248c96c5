//! Layers that want to write where they must not, or more than they may: pushed, signed, and served by a real registry.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use diagnostic::codes;
use oci::{Digest, IMAGE_CONFIG, LAYER_TAR_GZIP};

use crate::artefacts::Artefact;
use crate::home::Published;

/// An entry of a tar: a name, a kind as `ustar` writes it, where a link leads, and content.
fn entry(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    put(329, "0000001\x000000001\0");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut entry = [&header, content].concat();
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn gzip(bytes: Vec<u8>) -> Vec<u8> {
    let mut child =
        Command::new("gzip").args(["-1", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Puts this tar in place of the layer.
fn replace_layer(artefact: &Artefact, tar: Vec<u8>) {
    let diff_id = Digest::of(&tar);
    let layer = artefact.layout.put(LAYER_TAR_GZIP, &gzip(tar)).unwrap();
    let config =
        format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#);
    let config = artefact.layout.put(IMAGE_CONFIG, config.as_bytes()).unwrap();
    artefact.change(
        |manifest| {
            manifest.layers = vec![layer];
            manifest.config = config;
        },
        |_| {},
    );
}

#[test]
fn a_hostile_layer_is_refused_although_it_is_signed() {
    let published = Published::installed();
    let (home, v1) = (&published.home, &published.v1);
    let v2 = crate::artefacts::v2(home.path());
    let end = vec![0; 1024];
    let outside = home.file("evil");
    let cases = [
        (entry("opt/caravan/../../../evil", b'0', "", b"evil"), "holds `..`"),
        (entry("../evil", b'0', "", b"evil"), "holds `..`"),
        (entry(&outside, b'0', "", b"evil"), "is absolute"),
        (entry("opt/caravan/lib/out", b'2', &outside, b""), "is a symbolic link"),
        (entry("opt/caravan/lib/out", b'1', &outside, b""), "is a hard link"),
        (entry("opt/caravan/lib/null", b'3', "", b""), "is a device"),
        (entry("opt/caravan/lib/zeros", b'0', "", &vec![0; 64 << 20]), "is larger than"),
        ([entry("opt/caravan/lib/file", b'0', "", b"fine"), vec![0; 64 << 20]].concat(), "unpacks to more than"),
        // The files are fine, but there are too few of them.
        (entry("opt/caravan/lib/file", b'0', "", b"fine"), "it has no `lib/build_info.json`"),
    ];
    for (entry, why) in cases {
        replace_layer(&v2, [entry, end.clone()].concat());
        home.push(&v2, &published.reference, Some(&published.keys)).succeeds();
        home.run(&published.install(&["--update"])).fails(codes::ARCHIVE_INVALID, why);
        home.assert_active(v1);
        assert_eq!(home.builds(), [v1.id.to_string()], "{why}");
        assert_eq!(home.cached(), [""; 0], "{why}");
        assert!(!fs::exists(&outside).unwrap() && !fs::exists(home.store.root().join("evil")).unwrap(), "{why}");
    }
}
