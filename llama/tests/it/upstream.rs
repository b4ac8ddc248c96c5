//! What our `unsafe impl Sync for Model` stands on: looked at again whenever the pin moves.

use std::fs;
use std::path::Path;

#[test]
fn models_and_vocabularies_have_no_mutable_members() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("vendor/llama.cpp/src");
    for header in ["llama-model.h", "llama-vocab.h", "llama-hparams.h"] {
        let path = source.join(header);
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask vendor`", path.display()));
        let hidden: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("mutable ")).collect();
        assert!(hidden.is_empty(), "{header}: {hidden:?}");
    }
}
