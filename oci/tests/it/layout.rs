//! Layout directories: written, read, damaged.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use diagnostic::codes;
use insta::assert_snapshot;
use oci::{Descriptor, Digest, EMPTY_JSON, IMAGE_CONFIG, Index, LAYER_TAR_ZSTD, Layout, Manifest, ReadLayout};
use tempfile::TempDir;

fn layout() -> (TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(&dir.path().join("layout")).unwrap();
    (dir, layout)
}

fn image(layout: &Layout, content: &[u8]) -> Descriptor {
    let config = layout.put(IMAGE_CONFIG, EMPTY_JSON).unwrap();
    let layer = layout.put(LAYER_TAR_ZSTD, content).unwrap();
    layout.put_manifest(&Manifest::new(config, vec![layer])).unwrap()
}

fn signature_of(subject: &Descriptor, text: &str) -> Manifest {
    let mut manifest = Manifest::new(Descriptor::empty_config(), vec![Descriptor::empty_config()]);
    manifest.artifact_type = Some("application/vnd.example.signature".to_owned());
    manifest.subject = Some(subject.clone());
    manifest.annotations.insert("text".to_owned(), text.to_owned());
    manifest
}

/// Every file below a directory, by relative path.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()).iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_put_comes_back_and_equal_content_gives_equal_layouts() {
    let (_a, one) = layout();
    let (_b, two) = layout();
    for layout in [&one, &two] {
        let manifest = image(layout, b"content");
        layout.tag(&manifest, "v1").unwrap();
        layout.tag(&manifest, "v1").unwrap();
        layout.add_referrer(&signature_of(&manifest, "s")).unwrap();
    }
    assert_eq!(files(one.root()), files(two.root()));
    for file in files(one.root()) {
        assert_eq!(fs::read(one.root().join(&file)).unwrap(), fs::read(two.root().join(&file)).unwrap(), "{file}");
    }
    let reopened = Layout::open(one.root()).unwrap();
    let manifest = reopened.resolve(Some("v1")).unwrap();
    let mut read = Manifest::parse(&reopened.read_blob(&manifest, 1000).unwrap(), "it").unwrap();
    let layer = read.layers.remove(0);
    let mut content = Vec::new();
    reopened.open_blob(&layer).unwrap().read_to_end(&mut content).unwrap();
    assert_eq!(content, b"content");
}

#[test]
fn a_tag_moves_and_the_only_entry_needs_none() {
    let (_dir, layout) = layout();
    assert_snapshot!(layout.resolve(None).unwrap_err().to_string().split_once("` ").unwrap().1, @"has no single entry; it has no tag");
    let one = image(&layout, b"one");
    let two = image(&layout, b"two");
    layout.tag(&one, "v1").unwrap();
    assert_eq!(layout.resolve(None).unwrap().digest, one.digest);
    layout.add_referrer(&signature_of(&one, "s")).unwrap();
    assert_eq!(layout.resolve(None).unwrap().digest, one.digest);
    layout.tag(&one, "same").unwrap();
    assert_eq!(layout.resolve(None).unwrap().digest, one.digest);
    layout.tag(&two, "v1").unwrap();
    assert_eq!(layout.resolve(Some("v1")).unwrap().digest, two.digest);
    assert_eq!(layout.resolve(None).unwrap_err().code(), codes::NOT_FOUND);
    let missing = layout.resolve(Some("v2")).unwrap_err();
    assert_eq!(missing.code(), codes::NOT_FOUND);
    assert_snapshot!(missing.to_string().split_once("` ").unwrap().1, @"has no tag `v2`; it has the tags `same`, `v1`");
    assert_eq!(layout.tag(&one, "not a tag").unwrap_err().code(), codes::REFERENCE_INVALID);
}

#[test]
fn referrers_are_listed_once_and_by_subject() {
    let (_dir, layout) = layout();
    let one = image(&layout, b"one");
    let two = image(&layout, b"two");
    layout.tag(&one, "v1").unwrap();
    let first = layout.add_referrer(&signature_of(&one, "first")).unwrap();
    let second = layout.add_referrer(&signature_of(&one, "second")).unwrap();
    layout.add_referrer(&signature_of(&one, "first")).unwrap();
    assert_eq!(layout.referrers(&one.digest).unwrap(), [first.clone(), second]);
    assert_eq!(first.artifact_type.as_deref(), Some("application/vnd.example.signature"));
    assert_eq!(first.annotations["text"], "first");
    assert!(layout.referrers(&two.digest).unwrap().is_empty());
    // A tool that lists a referrer without the fallback tag, as the specification allows.
    let other = layout.put_manifest(&signature_of(&two, "other")).unwrap();
    let mut index = layout.index().unwrap();
    index.manifests.push(other.clone());
    fs::write(layout.root().join("index.json"), index.to_json()).unwrap();
    let found = layout.referrers(&two.digest).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].digest, &found[0].annotations["text"]), (other.digest, &"other".to_owned()));
    let no_subject = layout.add_referrer(&Manifest::new(Descriptor::empty_config(), vec![])).unwrap_err();
    assert_eq!(no_subject.code(), codes::MANIFEST_INVALID);
}

#[test]
fn writers_take_turns() {
    let (_dir, layout) = layout();
    let subject = image(&layout, b"one");
    thread::scope(|scope| {
        for n in 0..8 {
            let (layout, subject) = (&layout, &subject);
            scope.spawn(move || {
                let own = Layout::open(layout.root()).unwrap();
                own.add_referrer(&signature_of(subject, &n.to_string())).unwrap();
                own.tag(subject, &format!("v{n}")).unwrap();
            });
        }
    });
    assert_eq!(layout.referrers(&subject.digest).unwrap().len(), 8);
    for n in 0..8 {
        layout.resolve(Some(&format!("v{n}"))).unwrap();
    }
}

#[test]
fn a_reader_that_fails_leaves_nothing() {
    let (_dir, layout) = layout();
    let before = files(layout.root());
    struct Broken(u32);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 == 3 { Err(io::Error::other("it broke")) } else { Ok(buffer.len()) }
        }
    }
    let error = layout.put_stream("a", &mut Broken(0)).unwrap_err();
    assert!(error.to_string().ends_with("it broke"), "{error}");
    assert_eq!(files(layout.root()), before);
}

#[test]
fn what_a_killed_writer_left_is_swept_and_an_unfinished_layout_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("layout");
    fs::create_dir_all(root.join("blobs/sha256")).unwrap();
    fs::write(root.join("blobs/sha256/.staging-abc"), "half").unwrap();
    fs::write(root.join(".lock"), "").unwrap();
    fs::write(root.join(".index.json.xyz"), "half").unwrap();
    let layout = Layout::create(&root).unwrap();
    assert!(fs::read_dir(root.join("blobs/sha256")).unwrap().next().is_none());
    assert!(layout.index().unwrap().manifests.is_empty());
    image(&Layout::create(&root).unwrap(), b"kept");
    assert_eq!(fs::read_dir(root.join("blobs/sha256")).unwrap().count(), 3);
}

#[test]
fn another_directory_is_not_made_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    assert_eq!(Layout::create(dir.path()).unwrap_err().code(), codes::MANIFEST_INVALID);
    assert_eq!(files(dir.path()), ["letter.txt"]);
    assert_eq!(Layout::open(dir.path()).unwrap_err().code(), codes::MANIFEST_INVALID);
    assert_eq!(Layout::open(&dir.path().join("none")).unwrap_err().code(), codes::NOT_FOUND);
    assert_eq!(Layout::open(&dir.path().join("letter.txt")).unwrap_err().code(), codes::MANIFEST_INVALID);
}

#[test]
fn damage_is_found() {
    let (_dir, layout) = layout();
    let manifest = image(&layout, b"one");
    let blob = layout.put("a", &vec![7; 300_000]).unwrap();
    let path = layout.blob_path(&blob.digest);
    let read = || {
        let mut bytes = Vec::new();
        layout.open_blob(&blob).map(|mut reader| reader.read_to_end(&mut bytes).map(|_| ()))
    };
    read().unwrap().unwrap();
    let mut flipped = vec![7; 300_000];
    flipped[299_999] ^= 1;
    fs::write(&path, &flipped).unwrap();
    assert_eq!(read().unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(layout.read_blob(&blob, 1 << 20).unwrap_err().code(), codes::DIGEST_MISMATCH);
    for length in [299_999, 300_001] {
        fs::write(&path, vec![7; length]).unwrap();
        assert_eq!(read().unwrap_err().code(), codes::DIGEST_MISMATCH);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(read().unwrap_err().code(), codes::NOT_FOUND);
    fs::create_dir(&path).unwrap();
    assert_eq!(read().unwrap_err().code(), codes::MANIFEST_INVALID);

    assert_eq!(layout.read_blob(&manifest, 10).unwrap_err().code(), codes::MANIFEST_INVALID);
    fs::write(layout.root().join("index.json"), "{").unwrap();
    assert_eq!(layout.tag(&manifest, "v1").unwrap_err().code(), codes::MANIFEST_INVALID);
    fs::write(layout.root().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert_eq!(Layout::open(layout.root()).unwrap_err().code(), codes::MANIFEST_INVALID);
}

#[test]
fn an_index_lists_platforms() {
    let (_dir, layout) = layout();
    let manifest = image(&layout, b"one");
    let index = layout.put_index(&Index::new(vec![manifest.clone()])).unwrap();
    let (oci::Document::Index(read), bytes) = layout.document(&index).unwrap() else { panic!("not an index") };
    assert_eq!(read.manifests, [manifest]);
    assert_eq!(Digest::of(&bytes), index.digest);
}
