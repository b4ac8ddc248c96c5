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

#[test]
fn a_link_or_device_is_not_replaced_by_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("f"), directory.path().join("l"));
    fs::write(&file, "kept").unwrap();
    std::os::unix::fs::symlink("f", &link).unwrap();
    let error = write_atomic(&link, b"x").unwrap_err();
    assert!(error.to_string().ends_with("it is there and is not a file"), "{error}");
    assert!(link.is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"kept");
}
