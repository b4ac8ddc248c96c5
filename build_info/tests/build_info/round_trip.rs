//! What is written is read back equal, unknown keys included.

use build_info::{BuildInfo, Tuning};
use proptest::prelude::*;

use crate::arbitrary;

proptest! {
    #[test]
    fn build_info_comes_back_as_it_was(info in arbitrary::build_info()) {
        let json = info.to_json().unwrap();
        let back = BuildInfo::from_json(json.as_bytes(), "x".as_ref()).unwrap();
        prop_assert_eq!(&back, &info);
        // Also the text: keys keep their order, figures their last bit.
        prop_assert_eq!(back.to_json().unwrap(), json);
    }

    #[test]
    fn tuning_comes_back_as_it_was(tuning in arbitrary::tuning()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tuning.json");
        tuning.write(&path).unwrap();
        let back = Tuning::read(&path).unwrap();
        prop_assert_eq!(&back, &tuning);
        prop_assert_eq!(back.to_json().unwrap(), std::fs::read_to_string(&path).unwrap());
    }

    /// Cutting a file anywhere before its last brace is noticed, never misread and never a panic.
    #[test]
    fn a_truncated_file_is_refused(info in arbitrary::build_info(), cut in any::<prop::sample::Index>()) {
        let json = info.to_json().unwrap();
        let whole = json.trim_end().len();
        let error = BuildInfo::from_json(&json.as_bytes()[..cut.index(whole)], "x".as_ref()).unwrap_err();
        prop_assert_eq!(error.code(), diagnostic::codes::BUILD_CORRUPT);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(BuildInfo::from_json(&bytes, "x".as_ref()).is_err());
    }
}

#[test]
fn a_figure_that_json_cannot_hold_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("build_info.json");
    let mut info = crate::future::example();
    info.write(&path).unwrap();
    info.blas.measured.as_mut().unwrap().on.prompt = f64::NAN;
    let error = info.write(&path).unwrap_err();
    assert!(error.to_string().contains("key `blas.measured.on.prompt`"), "{error}");
    assert_eq!(BuildInfo::read(&path).unwrap(), crate::future::example());
}
