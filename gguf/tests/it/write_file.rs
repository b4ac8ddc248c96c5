//! Models as files: all of one, or nothing.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::path::Path;

use diagnostic::{Error, codes};
use gguf::Header;
use gguf::model::{ModelPlan, Quant, Shape, plan, write_file};

fn tiny() -> ModelPlan {
    plan(Shape::Tiny, Quant::Q4KM, 1)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory exists");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn a_model_is_written_and_opens() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(tiny().file_name());
    write_file(&tiny(), &path, |_| Ok(())).unwrap();
    assert_eq!(names(directory.path()), ["tiny-q4_k_m.gguf"]);
    assert_eq!(Header::open(&path).unwrap().tensors, tiny().tensors);
}

#[test]
fn it_has_the_permissions_of_any_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let (model, other) = (directory.path().join("model"), directory.path().join("other"));
    write_file(&tiny(), &model, |_| Ok(())).unwrap();
    File::create(&other).unwrap();
    assert_eq!(fs::metadata(model).unwrap().permissions(), fs::metadata(other).unwrap().permissions());
}

#[test]
fn being_stopped_leaves_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    fs::write(&path, "precious").unwrap();
    let mut during = Vec::new();
    let error = write_file(&tiny(), &path, |bytes| {
        during = names(directory.path());
        if bytes > 500_000 { Err(Error::new(codes::INTERRUPTED, "interrupted")) } else { Ok(()) }
    })
    .unwrap_err();
    assert_eq!(error.code(), codes::INTERRUPTED);
    assert_eq!(during.len(), 2, "staged beside the target: {during:?}");
    assert_eq!(names(directory.path()), ["model.gguf"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_file_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    fs::write(&path, "old").unwrap();
    write_file(&tiny(), &path, |_| Ok(())).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), tiny().file_bytes);
}

#[test]
fn what_cannot_be_written_is_refused_before_the_work() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let error = write_file(&tiny(), path, |_| panic!("it has begun")).unwrap_err();
        error.to_string().replace(directory.path().to_str().expect("UTF-8"), "DIR")
    };
    insta::assert_snapshot!(refused(directory.path()), @"cannot write model `DIR`: not a file");
    insta::assert_snapshot!(refused(&directory.path().join("missing/model.gguf")), @"cannot write model `DIR/missing/model.gguf`: no such file or directory");
    let socket = directory.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    insta::assert_snapshot!(refused(&socket), @"cannot write model `DIR/socket`: not a file");
    assert_eq!(names(directory.path()), ["socket"]);
}

/// On whatever file system the tests run, a model of 2^62 bytes does not fit.
#[test]
fn a_model_that_does_not_fit_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut plan = tiny();
    plan.file_bytes = 1 << 62;
    let error = write_file(&plan, &directory.path().join("model.gguf"), |_| panic!("it has begun")).unwrap_err();
    assert_eq!(error.code(), codes::DISK_FULL);
    assert!(error.to_string().contains("it takes 4611686018427.4 MB and "), "{error}");
    assert_eq!(names(directory.path()), [""; 0]);
}
