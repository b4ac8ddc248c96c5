//! Images that run by themselves: the artefact's own layers on a base of Debian packages, by our command and by a Containerfile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use diagnostic::codes;
use oci::{Descriptor, Document, Index, Layout, Manifest, ReadLayout};
use serde_json::Value;
use testkit::registry::RealRegistry;

use crate::artefacts::{self, Artefact};
use crate::home::{Done, Home, reference};

/// The arguments that make an image of an artefact that nobody has signed.
fn image<'a>(from: &'a str, out: &'a str) -> [&'a str; 6] {
    ["image", "--from", from, "--allow-unsigned", "--out", out]
}

/// The manifest of the only image in a layout, and its configuration.
fn read(dir: &Path) -> (Manifest, Value) {
    let layout = Layout::open(dir).unwrap();
    let document = |descriptor: &Descriptor| layout.document(descriptor).unwrap().0;
    let manifest = match document(&layout.resolve(None).unwrap()) {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => match document(&index.manifests[0]) {
            Document::Manifest(manifest) => manifest,
            Document::Index(_) => panic!("an index in an index"),
        },
    };
    let config = layout.read_blob(&manifest.config, 1 << 20).unwrap();
    (manifest, serde_json::from_slice(&config).unwrap())
}

/// How a container starts, without what says where the image comes from.
fn starts(config: &Value) -> Value {
    let mut config = config["config"].clone();
    config.as_object_mut().unwrap().shift_remove("Labels");
    config
}

#[test]
fn an_image_is_the_artefacts_own_layers_on_a_base_and_the_same_every_time() {
    let home = Home::new();
    let v1 = artefacts::v1(home.path());
    let (from, out) = (v1.reference(), home.file("image"));
    let plan = home.run(&[&image(&from, &out)[..], &["--dry-run"]].concat()).succeeds().printed;
    assert!(plan.contains(&v1.layer().digest.to_string()) && plan.contains("Debian bookworm libc6 "), "{plan}");
    assert!(!Path::new(&out).exists(), "a plan writes nothing");

    let made = home.run(&[&image(&from, &out)[..], &["--json"]].concat()).succeeds();
    let made: Value = serde_json::from_str(&made.printed).unwrap();
    let (manifest, config) = read(Path::new(&out));
    assert_eq!(manifest.layers.len(), 2);
    assert_eq!(manifest.layers[1], v1.layer(), "the layer is the artefact's own");
    assert_eq!(made["layers"][1]["digest"], v1.layer().digest.to_string());
    assert!(made["compressed_bytes"].as_u64().unwrap() < 100_000_000);
    assert_eq!(manifest.artifact_type, None, "it is no artefact: `install-fast` must not take it for one");
    insta::assert_snapshot!(serde_json::to_string_pretty(&starts(&config)).unwrap(), @r#"
    {
      "Env": [
        "PATH=/opt/caravan/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LLAMA_ARG_HOST=0.0.0.0"
      ],
      "User": "65532:65532",
      "Entrypoint": [
        "/opt/caravan/bin/caravan",
        "serve"
      ],
      "ExposedPorts": {
        "8080/tcp": {}
      },
      "StopSignal": "SIGTERM"
    }
    "#);
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], "0.5.0");
    assert_eq!(labels["dev.caravan.build-id"], v1.id.to_string());
    assert_eq!(labels["org.opencontainers.image.licenses"], "GPL-2.0-or-later AND LGPL-2.1-or-later AND MIT");

    // Elsewhere, another time, and with the packages of the first run dropped.
    fs::remove_dir_all(home.store.cache()).unwrap();
    let other = home.file("elsewhere/other");
    let again = home.run(&image(&from, &other)).succeeds();
    assert!(again.printed.trim().ends_with(made["digest"].as_str().unwrap()), "{}", again.printed);
    // What is there already stays.
    home.run(&image(&from, &other)).succeeds().saying("unchanged");
    home.run(&["install-fast", &format!("oci:{out}"), "--allow-unsigned"])
        .fails(codes::MANIFEST_INVALID, "is not a Caravan artefact");
}

#[test]
fn an_image_is_pushed_and_signed_like_an_artefact() {
    let (home, registry) = (Home::new(), RealRegistry::start());
    let (keys, v1) = (home.keys("signer"), artefacts::v1(home.path()));
    let (name, from) = (reference(&registry.host), v1.reference());
    let out = home.file("image");
    home.run(&["image", "--from", &from, "--out", &out]).fails(codes::UNSIGNED, "no signature");
    let push = [&image(&from, &out)[..], &["--push", &name, "--sign-key", &keys.secret]].concat();
    let pushed = home.run(&push).succeeds();
    let digest = pushed.printed.trim().rsplit_once('@').unwrap().1.to_owned();
    let (status, index) = registry.get(&format!("manifests/{digest}"));
    assert_eq!(status, 200);
    assert_eq!(Index::parse(&index, "the index").unwrap().manifests.len(), 1);
    let signatures = registry.get(&format!("manifests/{}", digest.replace(':', "-")));
    assert_eq!(signatures.0, 200, "it was not signed");
    // The layout that was written can be pushed as an artefact can.
    home.run(&["push", &name, "--from", &out, "--sign-key", &keys.secret]).succeeds().saying("pushed    0 of");
    // What everybody else's tool sees.
    let inspect =
        ["inspect", "--tls-verify=false", "--no-tags", "--format", "{{index .Labels \"dev.caravan.build-id\"}}"];
    let skopeo = Done::of(Command::new("skopeo").args(inspect).arg(format!("docker://{name}")));
    assert_eq!(skopeo.succeeds().printed.trim(), v1.id.to_string());
}

#[test]
fn a_package_that_is_gone_or_not_the_pinned_one_is_one_error() {
    let home = Home::new();
    let v1 = artefacts::v1(home.path());
    let (from, out) = (v1.reference(), home.file("image"));
    let with = |script: &str| {
        let dir = home.path().join("bin");
        fs::create_dir_all(&dir).unwrap();
        let apt = dir.join("apt-get");
        fs::write(&apt, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&apt, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
        Done::of(home.command(&image(&from, &out)).env("PATH", path))
    };
    // As apt says it, on its last line.
    with("case \"$*\" in *update*) ;; *) echo \"E: Version '1' for 'base-files' was not found\" >&2; exit 100;; esac")
        .fails(codes::BASE_UNAVAILABLE, "E: Version '1' for 'base-files' was not found")
        .saying("--bump-base")
        .saying("cache/packages/base-files_");
    with("echo other > base-files_1_amd64.deb").fails(codes::BASE_UNAVAILABLE, "is not the pinned one");
    with("exit 0").fails(codes::BASE_UNAVAILABLE, "did not write one file");
    assert!(!Path::new(&out).exists(), "nothing is left half-written");

    // A damaged file in the cache is not taken for the pinned one.
    home.run(&image(&from, &out)).succeeds();
    let packages = home.store.cache().join("packages");
    for file in fs::read_dir(&packages).unwrap() {
        fs::write(file.unwrap().path(), "damaged").unwrap();
    }
    home.run(&image(&from, &out)).succeeds().saying("unchanged");
}

#[test]
fn what_an_image_cannot_be_made_of_is_one_error() {
    let home = Home::new();
    let v1 = artefacts::v1(home.path());
    let (from, out) = (v1.reference(), home.file("image"));
    home.run(&["image", "--kind", "native", "--out", &out]).fails(codes::NO_SUCH_BUILD, "no native build is installed");
    home.run(&["image", "--kind", "native", "--from", &from]).fails(codes::REFERENCE_INVALID, "from the store");
    let missing = format!("oci:{}", home.file("missing"));
    home.run(&image(&missing, &out)).fails(codes::NOT_FOUND, "does not exist");
    fs::write(home.file("notes"), "years of work").unwrap();
    let taken = home.file("");
    home.run(&image(&from, &taken)).fails(codes::MANIFEST_INVALID, "is no layout");
    let push = [&image(&from, &out)[..], &["--push", "oci:somewhere"]].concat();
    home.run(&push).fails(codes::REFERENCE_INVALID, "is not in a registry");
    assert!(!Path::new(&out).exists());
}

#[test]
fn the_containerfile_makes_an_image_that_starts_the_same() {
    let (home, registry) = (Home::new(), RealRegistry::start());
    let v1 = artefacts::v1(home.path());
    let ours = home.file("image");
    home.run(&image(&v1.reference(), &ours)).succeeds();
    let (manifest, config) = read(Path::new(&ours));
    let (base, built) = (home.file("base"), home.file("built"));
    base_of(&manifest, &config, Path::new(&ours), Path::new(&base), &v1);
    let (artefact, below) = (reference(&registry.host), format!("{}/base:slim", registry.host));
    home.push(&v1, &artefact, None).succeeds();
    home.run(&["push", &below, "--from", &base]).succeeds();

    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command.args(["--root", &home.file("root"), "--runroot", &home.file("run"), "--storage-driver", "vfs"]);
        let done = command.args(arguments).output().unwrap();
        assert!(done.status.success(), "buildah {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("images/Containerfile");
    let (artefact, below) = (format!("ARTEFACT={artefact}"), format!("BASE={below}"));
    let context = home.file("context");
    fs::create_dir(&context).unwrap();
    let build = ["bud", "--isolation", "chroot", "--tls-verify=false", "--tag", "built"];
    let with = ["--build-arg", &artefact, "--build-arg", &below];
    buildah(&[&build[..], &with, &["--file", file.to_str().unwrap(), &context]].concat());
    buildah(&["push", "built", &format!("oci:{built}:1")]);
    let theirs = read(Path::new(&built)).1;
    let sorted = |config: &Value| {
        let mut text: Vec<(String, String)> =
            starts(config).as_object().unwrap().iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
        text.sort();
        text
    };
    assert_eq!(sorted(&theirs), sorted(&config), "the Containerfile and `cargo xtask image` start containers alike");

    // Nothing but the base's libraries is there, and the tool runs.
    let container = buildah(&["from", "--pull-never", "localhost/built"]);
    let run = ["run", "--isolation", "chroot", &container, "--", "/opt/caravan/bin/llama-server", "--version"];
    assert_eq!(buildah(&run), v1.says);
    buildah(&["rm", &container]);
}

/// Writes a layout with the lowest layer of an image alone: a slim base, as a registry would have it.
fn base_of(manifest: &Manifest, config: &Value, image: &Path, base: &Path, v1: &Artefact) {
    let (from, to) = (Layout::open(image).unwrap(), Layout::create(base).unwrap());
    assert_ne!(manifest.layers[0], v1.layer());
    to.put_stream(&manifest.layers[0].media_type, &mut from.open_blob(&manifest.layers[0]).unwrap()).unwrap();
    let mut config = config.clone();
    config["config"] = serde_json::json!({});
    config["history"].as_array_mut().unwrap().truncate(1);
    config["rootfs"]["diff_ids"].as_array_mut().unwrap().truncate(1);
    let config = to.put(&manifest.config.media_type, &serde_json::to_vec(&config).unwrap()).unwrap();
    let manifest = to.put_manifest(&Manifest::new(config, manifest.layers[..1].to_vec())).unwrap();
    to.tag(&manifest, "base").unwrap();
}
