//! Build ids, digests, fingerprints and model classes parse and print.

use build_info::{BuildId, BuildKind, HostFingerprint, ModelClass, Sha256Digest};
use proptest::prelude::*;

use crate::arbitrary;

const CONTENT: Sha256Digest = Sha256Digest::new([0x8f; 32]);

#[test]
fn an_id_is_made_of_kind_version_commit_and_content() {
    let id = BuildId::new(BuildKind::Native, "0.5.0", "0c1e57098bba43ac29e6e3b677cdceebdd22334f", &CONTENT).unwrap();
    assert_eq!(id.to_string(), "native-0.5.0-0c1e5709-8f8f8f8f");
    assert_eq!(format!("{id:<32}|"), "native-0.5.0-0c1e5709-8f8f8f8f  |");
    let dashed: BuildId = "portable-0.5.0-rc-1-0c1e5709-8f8f8f8f".parse().unwrap();
    assert_eq!(dashed.kind(), BuildKind::Portable);
    assert_eq!((dashed.llama_version(), dashed.commit(), dashed.content()), ("0.5.0-rc-1", "0c1e5709", "8f8f8f8f"));
}

#[test]
fn what_could_be_misread_as_a_path_is_no_id() {
    for text in [
        "",
        ".",
        "..",
        "native",
        "native---",
        "native-../..-0c1e5709-8f8f8f8f",
        "native-0.5.0/..-0c1e5709-8f8f8f8f",
        "native-.5-0c1e5709-8f8f8f8f",
        "native--0.5-0c1e5709-8f8f8f8f",
        "native-0.5\0-0c1e5709-8f8f8f8f",
        "native-0.5.0-0C1E5709-8f8f8f8f",
        "native-0.5.0-0c1e570-8f8f8f8f",
        "native-0.5.0-0c1e5709-8f8f8f8f0",
        "native_optimized-0.5.0-0c1e5709-8f8f8f8f",
        " native-0.5.0-0c1e5709-8f8f8f8f",
        "native-0.5.0-0c1e5709-8f8f8f8f\n",
    ] {
        assert!(text.parse::<BuildId>().is_err(), "{text:?}");
    }
    assert!(BuildId::new(BuildKind::Native, "0.5/0", "0c1e5709", &CONTENT).is_err());
    assert!(BuildId::new(BuildKind::Native, "0.5.0", "0c1e", &CONTENT).is_err());
    assert!(BuildId::new(BuildKind::Native, "0.5.0", "HEAD~123", &CONTENT).is_err());
    assert!(BuildId::new(BuildKind::Native, "0.5.0", "ääää5709", &CONTENT).is_err());
}

#[test]
fn hosts_and_classes_are_plain_names() {
    assert!("emerald-2c.v4_x".parse::<HostFingerprint>().is_ok());
    for text in ["", "..", ".hidden", "a/b", "A", "a b", &"a".repeat(65)] {
        assert!(text.parse::<HostFingerprint>().is_err(), "{text:?}");
    }
    let class = ModelClass::new("1B", "Q4_K_M").unwrap();
    assert_eq!(class.to_string(), "1b/q4_k_m");
    assert_eq!((class.size(), class.quant()), ("1b", "q4_k_m"));
    for text in ["", "1b", "/", "1b/", "/q8_0", "1b/q8_0/x", "../q8_0"] {
        assert!(text.parse::<ModelClass>().is_err(), "{text:?}");
    }
}

#[test]
fn a_digest_is_64_lower_case_digits() {
    let text = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    assert_eq!(text.parse::<Sha256Digest>().unwrap().to_string(), text);
    for wrong in ["", &text[1..], &text.to_uppercase(), &format!("+{}", &text[1..]), &format!("{text}0")] {
        assert!(wrong.parse::<Sha256Digest>().is_err(), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn ids_are_parsed_as_they_are_shown(id in arbitrary::id()) {
        prop_assert_eq!(id.to_string().parse::<BuildId>().unwrap(), id);
    }

    /// Whatever is accepted is one plain path component and shown as it was given.
    #[test]
    fn an_accepted_id_is_a_safe_directory_name(
        text in "(native|portable|x)?-?[0-9A-Za-z./\\\\\0 ~-]{0,12}-[0-9a-f]{7,9}-[0-9a-f]{8}",
    ) {
        if let Ok(id) = text.parse::<BuildId>() {
            prop_assert_eq!(id.to_string(), text.clone());
            let path = std::path::Path::new(&text);
            prop_assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(text.as_str()));
        }
    }

    #[test]
    fn digests_are_parsed_as_they_are_shown(digest in arbitrary::digest()) {
        prop_assert_eq!(digest.to_string().parse::<Sha256Digest>().unwrap(), digest);
    }
}
