//! The same build always gives the same image.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use artefact::pack::{Packed, Plan, publish};
use artefact::{Split, seal};
use build_info::{BuildInfo, BuildKind};
use diagnostic::codes;
use insta::assert_snapshot;
use oci::{Layout, Platform, ReadLayout};

use crate::support::*;

/// A document of a layout, indented for reading.
fn pretty(layout: &Layout, descriptor: &oci::Descriptor) -> String {
    let bytes = layout.read_blob(descriptor, 1 << 20).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

fn digests(packed: &Packed) -> Vec<String> {
    let layers = packed.layers.iter().flat_map(|layer| [layer.descriptor.digest, layer.diff_id]);
    layers.chain([packed.manifest.digest]).map(|digest| digest.to_string()).collect()
}

#[test]
fn the_same_build_gives_the_same_image_wherever_it_lies() {
    for split in [Split::One, Split::Backends] {
        let first = image(split);
        // Written in another order, in another place, by somebody else, at another time.
        let other = tempfile::tempdir().unwrap();
        let root = other.path().join("a longer path/to the tree");
        fs::create_dir_all(&root).unwrap();
        write(&root, "share/licenses/zig/LICENSE", b"Apache License Version 2.0 with LLVM Exceptions", 0o640);
        stage(&root);
        seal(&root, info()).unwrap();
        for (path, mode) in [("bin/llama-server", 0o700), ("lib/libggml.so", 0o600), ("lib", 0o700)] {
            fs::set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap();
        }
        let time = SystemTime::now() - Duration::from_secs(86_400);
        File::options().write(true).open(root.join("bin/llama-bench")).unwrap().set_modified(time).unwrap();
        let layout = Layout::create(&other.path().join("layout")).unwrap();
        let second = Plan::new(&root, split, SOURCE).unwrap().run(&layout).unwrap();
        assert_eq!(digests(&first.packed), digests(&second));
    }
}

/// Fails when a new version of zstd, or a change of ours, gives other bytes for the same build: artefacts that were
/// published can then no longer be made again from their source by this version. Say so in the changelog.
#[test]
fn the_bytes_of_a_layer_are_the_ones_that_earlier_versions_made() {
    let image = image(Split::Backends);
    let layers: Vec<String> = image
        .packed
        .layers
        .iter()
        .map(|layer| format!("{} {} {}", layer.descriptor.digest, layer.diff_id, layer.uncompressed_size))
        .collect();
    assert_snapshot!(layers.join("\n"), @"
    sha256:f50db6944aa16a8d10e19b054bd7b328ba3cf6870eea39b065bdaec940eded74 sha256:62ef1aa2bca08395aa41014c6a7cdab5feee9587c57e6c3094d699112750439b 4608
    sha256:4734fee265524dacc31e794f521817c604ef106b929d508d13cab7786e728f29 sha256:37220e5311c0b7528cda3feeaf47eaaee40a02f087fa1e005f69ab1d20f5809c 22528
    ");
}

#[test]
fn an_image_says_what_is_inside() {
    let image = image(Split::One);
    let index = publish(&image.layout, std::slice::from_ref(&image.packed), "v0.5.0").unwrap();
    assert_eq!(image.layout.resolve(Some("v0.5.0")).unwrap().digest, index.digest);
    assert_snapshot!(pretty(&image.layout, &image.packed.manifest), @r#"
    {
      "schemaVersion": 2,
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "artifactType": "application/vnd.caravan.llama.cpp.v1",
      "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": "sha256:ef8283c65389635da12dfdce07df71d7c4eb75cf8033887c742f92b2b551de1e",
        "size": 926
      },
      "layers": [
        {
          "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
          "digest": "sha256:a88347cd449f5cb1b9f7144b3f53b7936da56623bf7afb42724c63f0990077b3",
          "size": 2345
        }
      ],
      "annotations": {
        "dev.caravan.build-id": "portable-0.5.0-0c1e5709-44fa5ef0",
        "dev.caravan.glibc-floor": "2.27",
        "dev.caravan.platform": "linux/amd64",
        "dev.caravan.uncompressed-size": "24576",
        "dev.caravan.variants": "x64,haswell",
        "org.opencontainers.image.created": "2026-10-01T00:00:00Z",
        "org.opencontainers.image.licenses": "Apache-2.0 WITH LLVM-exception AND LicenseRef-odd AND MIT",
        "org.opencontainers.image.revision": "0c1e57098bba43ac29e6e3b677cdceebdd22334f",
        "org.opencontainers.image.source": "https://example.org/caravan",
        "org.opencontainers.image.version": "0.5.0"
      }
    }
    "#);
    assert_snapshot!(pretty(&image.layout, &image.manifest().config), @r#"
    {
      "created": "2026-10-01T00:00:00Z",
      "architecture": "amd64",
      "os": "linux",
      "config": {
        "Env": [
          "PATH=/opt/caravan/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ],
        "Labels": {
          "dev.caravan.build-id": "portable-0.5.0-0c1e5709-44fa5ef0",
          "dev.caravan.glibc-floor": "2.27",
          "dev.caravan.platform": "linux/amd64",
          "dev.caravan.uncompressed-size": "24576",
          "dev.caravan.variants": "x64,haswell",
          "org.opencontainers.image.created": "2026-10-01T00:00:00Z",
          "org.opencontainers.image.licenses": "Apache-2.0 WITH LLVM-exception AND LicenseRef-odd AND MIT",
          "org.opencontainers.image.revision": "0c1e57098bba43ac29e6e3b677cdceebdd22334f",
          "org.opencontainers.image.source": "https://example.org/caravan",
          "org.opencontainers.image.version": "0.5.0"
        }
      },
      "rootfs": {
        "type": "layers",
        "diff_ids": [
          "sha256:4732fd80882e0d66f85e4ead38c103047246f6bdf99dc99b1d2c04cfae980452"
        ]
      },
      "history": [
        {
          "created": "2026-10-01T00:00:00Z",
          "created_by": "caravan: everything"
        }
      ]
    }
    "#);
    assert_snapshot!(pretty(&image.layout, &index), @r#"
    {
      "schemaVersion": 2,
      "mediaType": "application/vnd.oci.image.index.v1+json",
      "manifests": [
        {
          "mediaType": "application/vnd.oci.image.manifest.v1+json",
          "digest": "sha256:5ae84930ca35b39516936880bc63673f6add454e662c4fedfb2af05e618d0459",
          "size": 1017,
          "platform": {
            "architecture": "amd64",
            "os": "linux"
          }
        }
      ],
      "annotations": {
        "org.opencontainers.image.created": "2026-10-01T00:00:00Z",
        "org.opencontainers.image.licenses": "Apache-2.0 WITH LLVM-exception AND LicenseRef-odd AND MIT",
        "org.opencontainers.image.revision": "0c1e57098bba43ac29e6e3b677cdceebdd22334f",
        "org.opencontainers.image.source": "https://example.org/caravan",
        "org.opencontainers.image.version": "0.5.0"
      }
    }
    "#);
}

#[test]
fn the_plan_says_what_will_be_packed() {
    let tree = sealed();
    let plan = Plan::new(tree.path(), Split::Backends, SOURCE).unwrap();
    let text = plan.to_string().replace(&tree.path().display().to_string(), "TREE");
    assert_snapshot!(text, @"
    pack `TREE`
      build     portable-0.5.0-0c1e5709-44fa5ef0
      platform  linux/amd64
      variants  x64, haswell
      glibc     2.27
      created   2026-10-01T00:00:00Z
      source    https://example.org/caravan
      licences  Apache-2.0 WITH LLVM-exception AND LicenseRef-odd AND MIT
      layers    CPU backends apart from the rest
        CPU backends: 2 files, 4608 bytes before compression
        the rest: 9 files, 22528 bytes before compression
    ");
}

#[test]
fn the_bill_of_materials_refers_to_the_manifest() {
    let image = image(Split::One);
    let referrers = image.layout.referrers(&image.packed.manifest.digest).unwrap();
    let [sbom] = referrers.as_slice() else { panic!("{referrers:?}") };
    assert_eq!(sbom.artifact_type.as_deref(), Some("application/vnd.cyclonedx+json"));
    assert_snapshot!(pretty(&image.layout, sbom), @r#"
    {
      "schemaVersion": 2,
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "artifactType": "application/vnd.cyclonedx+json",
      "config": {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "size": 2
      },
      "layers": [
        {
          "mediaType": "application/vnd.cyclonedx+json",
          "digest": "sha256:f4ba8a45c6bc4c4b1bb9dba8d9b5c037ac4e7a62c9f856602686348b03aedbfa",
          "size": 6493,
          "annotations": {
            "org.opencontainers.image.title": "sbom.cdx.json"
          }
        }
      ],
      "subject": {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": "sha256:5ae84930ca35b39516936880bc63673f6add454e662c4fedfb2af05e618d0459",
        "size": 1017
      },
      "annotations": {
        "org.opencontainers.image.created": "2026-10-01T00:00:00Z"
      }
    }
    "#);
}

#[test]
fn what_cannot_be_packed_is_named() {
    let says = |change: &dyn Fn(&std::path::Path)| {
        let tree = sealed();
        change(tree.path());
        let error = Plan::new(tree.path(), Split::One, SOURCE).unwrap_err();
        assert_eq!(error.code(), codes::GATE_FAILED, "{error}");
        error.to_string().replace(&tree.path().display().to_string(), "TREE")
    };
    let edit = |root: &std::path::Path, change: &dyn Fn(&mut BuildInfo)| {
        let path = root.join("lib/build_info.json");
        let mut info = BuildInfo::read(&path).unwrap();
        change(&mut info);
        info.write(&path).unwrap();
    };
    let messages = [
        says(&|root| symlink("llama-server", root.join("bin/llama-cli")).unwrap()),
        says(&|root| symlink("/etc", root.join("etc")).unwrap()),
        says(&|root| drop(std::os::unix::net::UnixListener::bind(root.join("s")).unwrap())),
        says(&|root| write(root, "bin/.wh.x", b"", 0o644)),
        says(&|root| write(root, "bin/a\nb", b"", 0o644)),
        says(&|root| write(root, &format!("share/{}/x", "d".repeat(200)), b"", 0o644)),
        says(&|root| write(root, "bin/extra", b"", 0o644)),
        says(&|root| fs::remove_file(root.join("bin/llama-bench")).unwrap()),
        says(&|root| fs::remove_file(root.join("share/sbom.cdx.json")).unwrap()),
        says(&|root| edit(root, &|info| info.build_type = BuildKind::Native)),
        says(&|root| edit(root, &|info| info.date = "1969-12-31T00:00:00Z".parse().unwrap())),
        says(&|root| edit(root, &|info| info.llama_version = "a/b".to_owned())),
        says(&|root| {
            let mut arm = elf("");
            arm[18] = 183;
            fs::write(root.join("lib/libggml.so"), arm).unwrap();
        }),
        says(&|root| {
            let mut mips = elf("");
            mips[18] = 8;
            fs::write(root.join("lib/libggml.so"), mips).unwrap();
        }),
    ];
    assert_snapshot!(messages.join("\n").replace(&"d".repeat(200), "ddd"), @r#"
    `bin/llama-cli` cannot be packed: it is a symbolic link
    `etc` cannot be packed: it is a symbolic link
    `s` cannot be packed: it is neither a file nor a directory
    `bin/.wh.x` cannot be packed: its name would delete files of other layers
    `bin/a\nb` cannot be packed: its name is not printable text
    `share/ddd` cannot be packed: its path is too long
    `TREE` cannot be packed: `lib/build_info.json` does not list `bin/extra`
    `TREE` cannot be packed: it lacks `bin/llama-bench`, which `lib/build_info.json` lists
    `TREE` cannot be packed: it lacks `share/sbom.cdx.json`, which `lib/build_info.json` lists
    `TREE` cannot be packed: it is a native build; only portable ones run elsewhere
    `TREE` cannot be packed: its date lies before 1970
    `TREE` cannot be packed: it has no id: `a/b` is not a llama.cpp version that can be part of a build id
    `bin/llama-bench` is for amd64, but `lib/libggml.so` for arm64
    `lib/libggml.so` is for an architecture that has no artefact
    "#);
}

#[test]
fn a_build_without_programs_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "lib/readme", b"#!", 0o644);
    fs::create_dir(dir.path().join("share")).unwrap();
    seal(dir.path(), info()).unwrap();
    let error = Plan::new(dir.path(), Split::One, SOURCE).unwrap_err();
    assert!(error.to_string().ends_with("it holds no program or library"), "{error}");
}

#[test]
fn a_file_that_changed_after_sealing_is_refused() {
    let tree = sealed();
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(&dir.path().join("layout")).unwrap();
    for content in [elf("A server"), elf("a longer server"), elf("")] {
        let plan = Plan::new(tree.path(), Split::One, SOURCE).unwrap();
        fs::write(tree.path().join("bin/llama-server"), content).unwrap();
        let error = plan.run(&layout).unwrap_err();
        assert_eq!(error.code(), codes::GATE_FAILED);
        assert_eq!(
            error.to_string(),
            "`bin/llama-server` is not the file that `lib/build_info.json` describes: it was changed after the build was sealed"
        );
        assert!(layout.index().unwrap().manifests.is_empty());
        fs::write(tree.path().join("bin/llama-server"), elf("a server")).unwrap();
    }
    // A link in place of a file is not followed.
    let plan = Plan::new(tree.path(), Split::One, SOURCE).unwrap();
    fs::rename(tree.path().join("bin/llama-server"), dir.path().join("server")).unwrap();
    symlink(dir.path().join("server"), tree.path().join("bin/llama-server")).unwrap();
    assert_eq!(plan.run(&layout).unwrap_err().code(), codes::IO);
}

#[test]
fn backends_lie_in_a_layer_that_other_tools_do_not_change() {
    let layers = |server: &str| {
        let tree = tempfile::tempdir().unwrap();
        stage(tree.path());
        write(tree.path(), "bin/llama-server", &elf(server), 0o755);
        seal(tree.path(), info()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(&dir.path().join("layout")).unwrap();
        let packed = Plan::new(tree.path(), Split::Backends, SOURCE).unwrap().run(&layout).unwrap();
        packed.layers.iter().map(|layer| layer.descriptor.digest).collect::<Vec<_>>()
    };
    let (one, two) = (layers("one"), layers("two"));
    assert_eq!(one[0], two[0]);
    assert_ne!(one[1], two[1]);
}

#[test]
fn images_of_several_platforms_share_an_index() {
    let image = image(Split::One);
    let mut arm = image.packed.clone();
    arm.manifest.platform = Some(Platform::new("linux", "arm64"));
    let index = publish(&image.layout, &[image.packed.clone(), arm], "both").unwrap();
    let (oci::Document::Index(index), _) = image.layout.document(&index).unwrap() else { panic!() };
    let platforms: Vec<_> = index.manifests.iter().map(|entry| entry.platform.as_ref().unwrap().to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    let refused = |images: &[Packed]| publish(&image.layout, images, "x").unwrap_err().to_string();
    assert_snapshot!(refused(&[]), @"the images cannot be published together: there are none");
    assert_snapshot!(refused(&[image.packed.clone(), image.packed.clone()]), @"the images cannot be published together: two are for the same platform");
    assert!(image.layout.resolve(Some("x")).is_err());
}

#[test]
fn sealing_again_changes_nothing() {
    let tree = sealed();
    let before = listing(tree.path());
    seal(tree.path(), info()).unwrap();
    assert_eq!(before, listing(tree.path()));
}
