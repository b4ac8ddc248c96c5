//! What several tests need: an artefact, a registry, a proxy that misbehaves.

pub(crate) mod proxy;
pub(crate) mod registry;

use std::fs;
use std::path::Path;
use std::time::Duration;

use diagnostic::Result;
use oci::{
    Access, Cache, Credentials, Descriptor, Digest, IMAGE_CONFIG, Index, LAYER_TAR_ZSTD, Layout, Limits, Manifest,
    Mirror, Platform, PushPlan, Pushed, Reference, Registry, Resolved, Source,
};

pub(crate) const REPOSITORY: &str = "owner/artefact";
pub(crate) const USER: &str = "caravan";
pub(crate) const PASSWORD: &str = "s3cret:with:colons";

/// Short pauses; a machine that is busy with other tests may still be slow to answer.
pub(crate) const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    read: Duration::from_secs(20),
    attempts: 4,
    backoff: Duration::from_millis(5),
    longest_pause: Duration::from_millis(50),
    bytes: 1 << 30,
    parallel: 4,
};

pub(crate) fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

/// Bytes that do not compress and are the same every time.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// An artefact in a layout.
pub(crate) struct Artefact {
    pub(crate) layout: Layout,
    pub(crate) index: Descriptor,
    pub(crate) manifest: Descriptor,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) signature: Descriptor,
}

impl Artefact {
    /// All blobs of the manifest.
    pub(crate) fn blobs(&self) -> Vec<Descriptor> {
        std::iter::once(&self.config).chain(&self.layers).cloned().collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.blobs().iter().map(|blob| blob.size).sum()
    }
}

/// Three layers, an index with a platform and an attestation, a tag `v1`, and something that refers to the index.
pub(crate) fn artefact(dir: &Path) -> Artefact {
    artefact_of(dir, &[2_000_000, 1_300_000, 700_001])
}

pub(crate) fn artefact_of(dir: &Path, layers: &[usize]) -> Artefact {
    let layout = Layout::create(&dir.join("layout")).unwrap();
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config = layout.put(IMAGE_CONFIG, config).unwrap();
    let layers: Vec<_> = layers
        .iter()
        .zip(1..)
        .map(|(length, seed)| layout.put(LAYER_TAR_ZSTD, &noise(seed, *length)).unwrap())
        .collect();
    let mut image = Manifest::new(config.clone(), layers.clone());
    image.artifact_type = Some("application/vnd.example.v1".to_owned());
    let manifest = layout.put_manifest(&image).unwrap();
    let attestation = layout.put_manifest(&Manifest::new(Descriptor::empty_config(), vec![config.clone()])).unwrap();
    layout.put("application/vnd.oci.empty.v1+json", b"{}").unwrap();
    let entry =
        |descriptor: &Descriptor, platform: Platform| Descriptor { platform: Some(platform), ..descriptor.clone() };
    let entries = vec![entry(&attestation, Platform::new("unknown", "unknown")), entry(&manifest, amd64())];
    let index = layout.put_index(&Index::new(entries)).unwrap();
    layout.tag(&index, "v1").unwrap();
    let signature = layout.add_referrer(&signature(&layout, &index, b"signature")).unwrap();
    Artefact { layout, index, manifest, config, layers, signature }
}

/// Something that refers to a manifest.
pub(crate) fn signature(layout: &Layout, subject: &Descriptor, content: &[u8]) -> Manifest {
    let blob = layout.put("text/plain", content).unwrap();
    let mut manifest = Manifest::new(Descriptor::empty_config(), vec![blob]);
    manifest.artifact_type = Some("application/vnd.example.signature".to_owned());
    manifest.subject = Some(Descriptor::new(subject.media_type.clone(), subject.digest, subject.size));
    manifest
}

pub(crate) fn access(credentials: Credentials) -> Access {
    Access { mirror: None, credentials, limits: LIMITS }
}

pub(crate) fn basic(password: &str) -> Credentials {
    Credentials::Basic { username: USER.to_owned(), password: password.to_owned() }
}

/// The artefact's name in the registry at this host.
pub(crate) fn reference(host: &str) -> Reference {
    format!("{host}/{REPOSITORY}:v1").parse().unwrap()
}

pub(crate) fn source(host: &str) -> Source {
    Source::open(&reference(host), &access(Credentials::Anonymous)).unwrap()
}

pub(crate) fn open(reference: &Reference, credentials: Credentials, mirror: Option<&Mirror>) -> Registry {
    let Reference::Registry(name) = reference else { panic!("not in a registry") };
    Registry::open(name, mirror, credentials, LIMITS).unwrap()
}

pub(crate) fn push_as(artefact: &Artefact, reference: &Reference, credentials: Credentials) -> Result<Pushed> {
    let plan = PushPlan::new(&artefact.layout, Some("v1"))?;
    oci::push(&artefact.layout, &plan, &open(reference, credentials, None), &mut |_, _| {})
}

pub(crate) fn push(artefact: &Artefact, host: &str) -> Pushed {
    push_as(artefact, &reference(host), Credentials::Anonymous).unwrap()
}

pub(crate) fn pull(source: &Source, cache: &Cache) -> Result<Resolved> {
    oci::pull(source, &amd64(), cache, &mut |_, _| {})
}

pub(crate) fn cache(dir: &Path) -> Cache {
    Cache::open(&dir.join("cache")).unwrap()
}

/// Every blob is in the cache, whole, and nothing else is.
pub(crate) fn assert_complete(cache: &Cache, artefact: &Artefact) {
    for blob in artefact.blobs() {
        assert_eq!(Digest::of(&fs::read(cache.path(&blob.digest)).unwrap()), blob.digest);
    }
    assert_eq!(files(cache).len(), artefact.blobs().len(), "{:?}", files(cache));
}

/// Names of all files in a cache.
pub(crate) fn files(cache: &Cache) -> Vec<String> {
    let blobs = cache.path(&Digest::of(b"")).parent().unwrap().to_owned();
    let mut names: Vec<_> =
        fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// No blob is in the cache that is not what its name says; beginnings may be.
pub(crate) fn assert_honest(cache: &Cache) {
    for name in files(cache).into_iter().filter(|name| !name.ends_with(".part")) {
        let path = cache.path(&Digest::of(b"")).with_file_name(&name);
        assert_eq!(Digest::of(&fs::read(path).unwrap()).sha256().to_string(), name);
    }
}
