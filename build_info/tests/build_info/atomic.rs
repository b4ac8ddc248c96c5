//! Files appear whole or not at all.

use std::fs;
use std::path::Path;

use build_info::write_atomic;

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_write_replaces_the_whole_file_and_leaves_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    write_atomic(&path, b"a long first version").unwrap();
    write_atomic(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(names(directory.path()), ["f"]);
}

#[test]
fn a_failed_write_keeps_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inner"), "kept").unwrap();
    let error = write_atomic(&path, b"x").unwrap_err();
    assert!(error.to_string().starts_with("cannot write `"), "{error}");
    assert_eq!(fs::read(path.join("inner")).unwrap(), b"kept");
    assert_eq!(names(directory.path()), ["d"]);
    assert!(write_atomic(&directory.path().join("gone/f"), b"x").is_err());
}
