//! The bill of materials of a build, in the CycloneDX format. The same build always gives the same bytes.

mod model;

use std::collections::BTreeMap;

use build_info::{BuildInfo, Sha256Digest};
use sha2::{Digest as _, Sha256};

use self::model::{
    Bom, Component, Dependency, Diff, Formula, Hash, License, LicenseChoice, Metadata, PatchNote, Pedigree, Property,
    Reference, Tools,
};
use crate::licence::{LLAMA, LLAMA_LICENCE, Licence};

/// The media type of a bill of materials in JSON, and the kind of artefact that one is.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// Where upstream lies.
const UPSTREAM: &str = "https://github.com/ggml-org/llama.cpp";

/// The text of the document: what `info` says of the build, its bundled components, and the files in `digests`.
pub(crate) fn document(
    info: &BuildInfo,
    components: &BTreeMap<String, Vec<Licence>>,
    digests: &BTreeMap<String, Sha256Digest>,
) -> String {
    let llama = llama(info, components.get(LLAMA).map_or(&[][..], Vec::as_slice));
    let bundled: Vec<Component> =
        components.iter().filter(|(name, _)| *name != LLAMA).map(|(name, licences)| library(name, licences)).collect();
    let main = llama.bom_ref.clone().expect("the main component has a reference");
    let dependencies = dependencies(&main, &bundled);
    let files = digests.iter().map(|(path, digest)| file(path, digest));
    let mut bom = Bom {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: String::new(),
        version: 1,
        metadata: Metadata {
            timestamp: info.date.to_string(),
            tools: Tools { components: vec![caravan()] },
            component: llama,
        },
        components: bundled.into_iter().chain(files).collect(),
        dependencies,
        formulation: vec![Formula { components: makers(info) }],
    };
    bom.serial_number = serial_number(&to_json(&bom));
    to_json(&bom)
}

fn to_json(bom: &Bom) -> String {
    let mut text = serde_json::to_string_pretty(bom).expect("the document has only text keys");
    text.push('\n');
    text
}

/// A UUID of the content instead of a random one (version 8 of RFC 9562: made as we like).
fn serial_number(content: &str) -> String {
    let mut bytes: [u8; 16] = Sha256::digest(content)[..16].try_into().expect("SHA-256 has 32 bytes");
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn llama(info: &BuildInfo, licences: &[Licence]) -> Component {
    let purl = format!("pkg:github/ggml-org/llama.cpp@{}", info.llama_commit);
    let property = |name: &str, value: String| Property { name: format!("caravan:{name}"), value };
    let mut properties = vec![
        property("git-commit", info.llama_commit.clone()),
        property("git-tree", info.llama_tree.clone()),
        property("build-type", info.build_type.to_string()),
        property("variants", info.variants.join(",")),
        property("reproducible", info.reproducible.to_string()),
    ];
    properties.extend(info.glibc_floor.clone().map(|floor| property("glibc-floor", floor)));
    properties.extend(
        info.patches.iter().map(|patch| property(&format!("patch:{}", patch.name), format!("{:?}", patch.sha256))),
    );
    let patches: Vec<PatchNote> = info
        .patches
        .iter()
        .map(|patch| PatchNote {
            kind: "unofficial",
            // The format has no room for a digest: it stands in the fragment, and as a property.
            diff: Diff { url: format!("vendor/patches/{}#{:?}", patch.name, patch.sha256) },
        })
        .collect();
    let licences = match licences {
        [] => vec![LicenseChoice::License {
            license: License { id: Some(LLAMA_LICENCE.to_owned()), name: None, url: None },
        }],
        licences => choices(licences),
    };
    Component {
        bom_ref: Some(purl.clone()),
        version: Some(info.llama_version.clone()),
        purl: Some(purl),
        licenses: licences,
        pedigree: (!patches.is_empty()).then_some(Pedigree { patches }),
        external_references: vec![Reference { kind: "vcs", url: UPSTREAM.to_owned() }],
        properties,
        ..Component::new("application", LLAMA)
    }
}

/// Code of others that llama.cpp bundles or that is linked in.
fn library(name: &str, licences: &[Licence]) -> Component {
    Component {
        bom_ref: Some(format!("library:{name}")),
        licenses: choices(licences),
        ..Component::new("library", name)
    }
}

fn file(path: &str, digest: &Sha256Digest) -> Component {
    let hash = Hash { alg: "SHA-256", content: digest.to_string() };
    Component { bom_ref: Some(format!("file:{path}")), hashes: vec![hash], ..Component::new("file", path) }
}

/// What the document was written by; without its version, which would change the build's digests and nothing else.
fn caravan() -> Component {
    Component {
        external_references: vec![Reference { kind: "vcs", url: env!("CARGO_PKG_REPOSITORY").to_owned() }],
        ..Component::new("application", "caravan")
    }
}

/// The compiler and the other tools that made the build.
fn makers(info: &BuildInfo) -> Vec<Component> {
    let compiler = Component {
        bom_ref: Some("tool:compiler".to_owned()),
        properties: info
            .cmake_flags
            .iter()
            .map(|flag| Property { name: "caravan:cmake-flag".to_owned(), value: flag.clone() })
            .collect(),
        ..Component::new("application", &info.compiler)
    };
    let tool = |(name, version): (&String, &String)| Component {
        bom_ref: Some(format!("tool:{name}")),
        version: Some(version.clone()),
        ..Component::new("application", name)
    };
    std::iter::once(compiler).chain(info.tools.iter().map(tool)).collect()
}

fn dependencies(main: &str, bundled: &[Component]) -> Vec<Dependency> {
    let references: Vec<String> = bundled.iter().filter_map(|library| library.bom_ref.clone()).collect();
    let leaf = |reference: &String| Dependency { reference: reference.clone(), depends_on: Vec::new() };
    let leaves: Vec<Dependency> = references.iter().map(leaf).collect();
    std::iter::once(Dependency { reference: main.to_owned(), depends_on: references }).chain(leaves).collect()
}

/// The licences of one component: by name when each has a plain one, else as one expression, else by file.
fn choices(licences: &[Licence]) -> Vec<LicenseChoice> {
    let known: Option<Vec<&str>> = licences.iter().map(|licence| licence.spdx).collect();
    match known {
        Some(mut names) if names.iter().any(|name| name.contains(' ')) => {
            names.sort_unstable();
            names.dedup();
            vec![LicenseChoice::Expression { expression: names.join(" AND ") }]
        }
        _ => licences.iter().map(|licence| LicenseChoice::License { license: named(licence) }).collect(),
    }
}

fn named(licence: &Licence) -> License {
    // Relative to the document, which lies in `share/`.
    let url = licence.path.strip_prefix("share/").unwrap_or(&licence.path).to_owned();
    let id = licence.spdx.filter(|spdx| !spdx.contains(' ')).map(str::to_owned);
    let name = id.is_none().then(|| licence.spdx.map_or_else(|| url.clone(), str::to_owned));
    License { id, name, url: Some(url) }
}
