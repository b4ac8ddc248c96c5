//! Image layouts: directories that hold manifests and blobs by digest, as a registry does.
//!
//! Blobs are staged beside their place and renamed, `index.json` is replaced by renaming, and writers take turns by a lock
//! inside the layout; readers see the old list or the new.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use build_info::write_atomic;
use diagnostic::{Error, Result, codes};
use process::{Lock, interrupt};
use sha2::Digest as _;

use crate::media_type::{IMAGE_INDEX, IMAGE_MANIFEST};
use crate::model::{EMPTY_JSON, invalid, printable};
use crate::{Descriptor, Digest, Document, Index, MANIFEST_LIMIT, Manifest, VerifiedReader};

/// Marks a directory as a layout.
pub(crate) const MARKER: &str = "oci-layout";
/// The list of what a layout holds.
pub(crate) const INDEX: &str = "index.json";
/// Where blobs lie, by the hexadecimal digits of their digest.
pub(crate) const BLOBS: &str = "blobs/sha256";

const MARKER_CONTENT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const LOCK: &str = ".lock";
const STAGED: &str = ".staging-";
/// The annotation of an entry that tags it.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Reading a layout, whatever holds it.
pub trait ReadLayout {
    /// The layout in words, for messages.
    fn name(&self) -> String;

    /// The list of what it holds.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    fn index(&self) -> Result<Index>;

    /// The bytes and length of a blob, unchecked; nothing when the layout does not have it.
    ///
    /// # Errors
    /// It cannot be read.
    fn raw_blob(&self, digest: &Digest) -> Result<Option<(Box<dyn Read + Send>, u64)>>;

    /// A blob, whose reader fails when it is not what the descriptor says.
    ///
    /// # Errors
    /// [`codes::NOT_FOUND`]; [`codes::DIGEST_MISMATCH`] when its size already tells.
    fn open_blob(&self, descriptor: &Descriptor) -> Result<VerifiedReader> {
        let Some((reader, size)) = self.raw_blob(&descriptor.digest)? else {
            return Err(Error::new(codes::NOT_FOUND, format!("{} has no blob `{}`", self.name(), descriptor.digest)));
        };
        if size != descriptor.size {
            let message = format!(
                "blob `{}` of {} has {size} bytes, but {} are expected",
                descriptor.digest,
                self.name(),
                descriptor.size
            );
            return Err(Error::new(codes::DIGEST_MISMATCH, message));
        }
        Ok(VerifiedReader::new(reader, descriptor))
    }

    /// A small blob, whole and verified.
    ///
    /// # Errors
    /// As [`ReadLayout::open_blob`], and [`codes::MANIFEST_INVALID`] when it has more than `limit` bytes.
    fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        let what = format!("blob `{}` of {}", descriptor.digest, self.name());
        if descriptor.size > limit {
            return Err(invalid(&what, &format!("it has {} bytes, more than {limit}", descriptor.size)));
        }
        let mut bytes = Vec::new();
        self.open_blob(descriptor)?.read_to_end(&mut bytes).map_err(|error| read_error(&what, error))?;
        Ok(bytes)
    }

    /// The manifest or index that a descriptor names, with its bytes.
    ///
    /// # Errors
    /// It is not there, damaged, or too large.
    fn document(&self, descriptor: &Descriptor) -> Result<(Document, Vec<u8>)> {
        let bytes = self.read_blob(descriptor, MANIFEST_LIMIT)?;
        let what = format!("`{}` of {}", descriptor.digest, self.name());
        Ok((Document::parse(&bytes, Some(&descriptor.media_type), &what)?, bytes))
    }

    /// The entry with this tag, or without one the only entry that is no referrer.
    ///
    /// # Errors
    /// [`codes::NOT_FOUND`], naming the tags that there are.
    fn resolve(&self, tag: Option<&str>) -> Result<Descriptor> {
        let index = self.index()?;
        let entries = || index.manifests.iter().filter(|entry| !entry.tag().is_some_and(is_fallback_tag));
        let found = match tag {
            Some(tag) => index.manifests.iter().find(|entry| entry.tag() == Some(tag)),
            // A layout with one tag lists untagged entries for what those tags lead to or what refers to them.
            None => {
                let tagged: Vec<_> = entries().filter(|entry| entry.tag().is_some()).collect();
                let all: Vec<_> = if tagged.is_empty() { entries().collect() } else { tagged };
                all.first().copied().filter(|first| all.iter().all(|entry| entry.digest == first.digest))
            }
        };
        found.cloned().ok_or_else(|| {
            let mut tags: Vec<_> =
                entries().filter_map(Descriptor::tag).map(|tag| format!("`{}`", printable(tag))).collect();
            tags.truncate(16);
            let there = if tags.is_empty() { "no tag".to_owned() } else { format!("the tags {}", tags.join(", ")) };
            let what = tag.map_or("no single entry".to_owned(), |tag| format!("no tag `{}`", printable(tag)));
            Error::new(codes::NOT_FOUND, format!("{} has {what}; it has {there}", self.name()))
        })
    }

    /// What refers to a digest: what its fallback tag lists, then untagged entries whose manifest says so.
    ///
    /// # Errors
    /// The layout is damaged.
    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let index = self.index()?;
        let mut found: Vec<Descriptor> = Vec::new();
        let fallback = subject.fallback_tag();
        if let Some(entry) = index.manifests.iter().find(|entry| entry.tag() == Some(fallback.as_str()))
            && let (Document::Index(listed), _) = self.document(entry)?
        {
            found = listed.manifests;
        }
        for entry in index.manifests.iter().filter(|entry| entry.tag().is_none()) {
            let is_new = !found.iter().any(|known| known.digest == entry.digest);
            // A copy may list what it does not hold.
            if entry.media_type != IMAGE_MANIFEST || !is_new || self.raw_blob(&entry.digest)?.is_none() {
                continue;
            }
            let (Document::Manifest(manifest), _) = self.document(entry)? else { continue };
            if manifest.subject.as_ref().is_some_and(|of| of.digest == *subject) {
                found.push(as_referrer(entry.clone(), &manifest));
            }
        }
        Ok(found)
    }
}

/// A layout in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Opens a layout, or makes an empty one; the directory may exist and its parent must.
    ///
    /// What writers that were killed left half-written is swept.
    ///
    /// # Errors
    /// The directory cannot be written, or holds something else than a layout.
    pub fn create(root: &Path) -> Result<Layout> {
        let cannot_write = |error| Error::io("cannot write", root, error);
        match fs::create_dir(root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(cannot_write(error)),
            _ => {}
        }
        let layout = Layout { root: root.to_owned() };
        if !root.join(MARKER).exists() && fs::read_dir(root).map_err(cannot_write)?.any(|entry| !is_ours(entry)) {
            return Err(invalid(&layout.name(), "it is not empty and not a layout"));
        }
        let _lock = layout.lock()?;
        fs::create_dir_all(root.join(BLOBS)).map_err(cannot_write)?;
        if !root.join(MARKER).exists() {
            write_atomic(&root.join(INDEX), &Index::new(Vec::new()).to_json())?;
            write_atomic(&root.join(MARKER), MARKER_CONTENT)?;
        }
        layout.sweep()?;
        Layout::open(root)
    }

    /// Opens a layout that is there.
    ///
    /// # Errors
    /// [`codes::NOT_FOUND`] when there is no such directory, [`codes::MANIFEST_INVALID`] when it is no layout.
    pub fn open(root: &Path) -> Result<Layout> {
        let layout = Layout { root: root.to_owned() };
        match fs::metadata(root) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(invalid(&layout.name(), "it is not a directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let hint = "`cargo xtask package` makes one in `dist/oci`; \
                    `skopeo copy --all docker://HOST/REPOSITORY:TAG oci:DIR:TAG` copies a published one";
                let missing = Error::new(codes::NOT_FOUND, format!("{} does not exist", layout.name()));
                return Err(missing.hint(hint).source(error));
            }
            Err(error) => return Err(Error::io("cannot read", root, error)),
        }
        let marker = read_bounded(&root.join(MARKER), &layout)?;
        check_marker(&marker, &layout.name())?;
        Ok(layout)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob lies or would lie.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(BLOBS).join(digest.sha256().to_string())
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// The layout cannot be written.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        self.put_stream(media_type, &mut &*bytes)
    }

    /// Stores what a reader gives, to its end. The layout is locked meanwhile: the reader must not write to it.
    ///
    /// # Errors
    /// The reader fails, the layout cannot be written, or we were interrupted. Nothing is left of it then.
    pub fn put_stream(&self, media_type: &str, content: &mut dyn Read) -> Result<Descriptor> {
        let _lock = self.lock()?;
        self.store(media_type, content)
    }

    /// Stores a manifest; its blobs should be there already.
    ///
    /// The descriptor does not tell the artefact type, although it could: skopeo up to 1.9 drops that key from an index
    /// that it copies, and a copied index would have another digest than the one that was signed.
    ///
    /// # Errors
    /// The layout cannot be written.
    pub fn put_manifest(&self, manifest: &Manifest) -> Result<Descriptor> {
        self.put(IMAGE_MANIFEST, &manifest.to_json())
    }

    /// Stores an index; its manifests should be there already.
    ///
    /// # Errors
    /// The layout cannot be written.
    pub fn put_index(&self, index: &Index) -> Result<Descriptor> {
        self.put(IMAGE_INDEX, &index.to_json())
    }

    /// Lets a tag name what is stored, and nothing else any more.
    ///
    /// # Errors
    /// [`codes::REFERENCE_INVALID`] when it is no tag; the layout is damaged or cannot be written.
    pub fn tag(&self, descriptor: &Descriptor, tag: &str) -> Result<()> {
        if !crate::reference::is_tag(tag) {
            return Err(crate::reference::bad_tag(tag));
        }
        let _lock = self.lock()?;
        let mut index = self.index()?;
        set_tag(&mut index, descriptor, tag);
        self.write_index(&index)
    }

    /// Stores a manifest that has a `subject`, and lists it under the subject: under the fallback tag, which copies of the
    /// layout and registries keep. A referrer that is listed already stays listed once.
    ///
    /// # Errors
    /// [`codes::MANIFEST_INVALID`] when the manifest has no subject; the layout is damaged or cannot be written.
    pub fn add_referrer(&self, manifest: &Manifest) -> Result<Descriptor> {
        let Some(subject) = &manifest.subject else {
            return Err(invalid("the referrer", "it has no `subject`"));
        };
        let _lock = self.lock()?;
        if manifest.config.digest == Digest::of(EMPTY_JSON) {
            self.store(&manifest.config.media_type, &mut &*EMPTY_JSON)?;
        }
        let stored = as_referrer(self.store(IMAGE_MANIFEST, &mut &*manifest.to_json())?, manifest);
        let tag = subject.digest.fallback_tag();
        let mut index = self.index()?;
        let mut list = match index.manifests.iter().find(|entry| entry.tag() == Some(tag.as_str())) {
            Some(entry) => match self.document(entry)?.0 {
                Document::Index(list) => list,
                Document::Manifest(_) => return Err(invalid(&format!("tag `{tag}`"), "it is no list of referrers")),
            },
            None => Index::new(Vec::new()),
        };
        if !list.manifests.iter().any(|known| known.digest == stored.digest) {
            list.manifests.push(stored.clone());
            let list = self.store(IMAGE_INDEX, &mut &*list.to_json())?;
            set_tag(&mut index, &list, &tag);
            self.write_index(&index)?;
        }
        Ok(stored)
    }

    /// Stages a blob and renames it; the caller holds the lock.
    fn store(&self, media_type: &str, content: &mut dyn Read) -> Result<Descriptor> {
        let blobs = self.root.join(BLOBS);
        let cannot_write = |error| Error::io("cannot write to", &blobs, error);
        let mut staged = tempfile::Builder::new()
            .prefix(STAGED)
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(&blobs)
            .map_err(cannot_write)?;
        let (mut hasher, mut size) = (sha2::Sha256::new(), 0);
        let mut buffer = vec![0; 256 << 10];
        loop {
            interrupt::check()?;
            let n = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read_error(&format!("what goes into {}", self.name()), error)),
            };
            hasher.update(&buffer[..n]);
            staged.write_all(&buffer[..n]).map_err(cannot_write)?;
            size += n as u64;
        }
        let descriptor = Descriptor::new(media_type, Digest::finish(hasher), size);
        staged.as_file().sync_all().map_err(cannot_write)?;
        staged.persist(self.blob_path(&descriptor.digest)).map_err(|error| cannot_write(error.error))?;
        File::open(&blobs).and_then(|directory| directory.sync_all()).map_err(cannot_write)?;
        Ok(descriptor)
    }

    fn write_index(&self, index: &Index) -> Result<()> {
        write_atomic(&self.root.join(INDEX), &index.to_json())
    }

    fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.root.join(LOCK), |_| {})
    }

    /// Under the lock, so no staged blob has a living writer.
    fn sweep(&self) -> Result<()> {
        let blobs = self.root.join(BLOBS);
        let cannot_read = |error| Error::io("cannot read", &blobs, error);
        for entry in fs::read_dir(&blobs).map_err(cannot_read)? {
            let entry = entry.map_err(cannot_read)?;
            if entry.file_name().to_string_lossy().starts_with(STAGED) {
                fs::remove_file(entry.path()).map_err(|error| Error::io("cannot remove", &entry.path(), error))?;
            }
        }
        Ok(())
    }
}

impl ReadLayout for Layout {
    fn name(&self) -> String {
        format!("layout `{}`", self.root.display())
    }

    fn index(&self) -> Result<Index> {
        let path = self.root.join(INDEX);
        Index::parse(&read_bounded(&path, self)?, &format!("`{}`", path.display()))
    }

    fn raw_blob(&self, digest: &Digest) -> Result<Option<(Box<dyn Read + Send>, u64)>> {
        let path = self.blob_path(digest);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((found, file)) if found.is_file() => Ok(Some((Box::new(file), found.len()))),
            Ok(_) => Err(invalid(&self.name(), &format!("blob `{digest}` is not a file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("cannot read", &path, error)),
        }
    }
}

impl Descriptor {
    /// The tag of an entry of a layout.
    pub fn tag(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }
}

/// A referrer's entry in the list of its subject: registries copy type and annotations of the manifest into it.
pub(crate) fn as_referrer(mut entry: Descriptor, manifest: &Manifest) -> Descriptor {
    entry.artifact_type = Some(manifest.kind().to_owned());
    entry.annotations.extend(manifest.annotations.clone());
    entry
}

/// Whether a tag only lists what refers to a digest.
pub(crate) fn is_fallback_tag(tag: &str) -> bool {
    tag.strip_prefix("sha256-").is_some_and(|hex| hex.len() == 64)
}

/// The marker of a layout must say a version that we can read.
pub(crate) fn check_marker(bytes: &[u8], what: &str) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Marker {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    let marker: Marker = crate::model::from_json(bytes, what)?;
    if marker.version.starts_with("1.") {
        return Ok(());
    }
    Err(invalid(what, &format!("its layout version `{}` is not known", printable(&marker.version))))
}

/// The error of a reader: bytes that are not the expected ones, or a failing disk.
pub(crate) fn read_error(what: &str, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::InvalidData => codes::DIGEST_MISMATCH,
        _ => codes::IO,
    };
    Error::new(code, format!("cannot read {what}: {}", diagnostic::plain(&error))).source(error)
}

fn set_tag(index: &mut Index, descriptor: &Descriptor, tag: &str) {
    index.manifests.retain(|entry| entry.tag() != Some(tag));
    index.manifests.push(descriptor.clone().annotate(REF_NAME, tag));
}

/// What a layout that was never finished may hold.
fn is_ours(entry: io::Result<fs::DirEntry>) -> bool {
    let Ok(entry) = entry else { return false };
    let name = entry.file_name();
    let name = name.to_string_lossy();
    [LOCK, "blobs", INDEX].contains(&&*name)
        || name.starts_with(&format!(".{INDEX}."))
        || name.starts_with(".oci-layout.")
}

fn read_bounded(path: &Path, layout: &Layout) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MANIFEST_LIMIT + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Err(invalid(&layout.name(), &format!("it has no `{name}`")).source(error))
        }
        Err(error) => Err(Error::io("cannot read", path, error)),
    }
}
