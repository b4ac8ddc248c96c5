//! The JSON Schemas of the three files, for people and for other programs. `cargo xtask codegen` commits them under `docs/`.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use crate::{BuildInfo, Origin, Tuning};

/// The schema of `build_info.json`: indented JSON with a final newline, always the same bytes.
pub fn build_info() -> String {
    describe::<BuildInfo>()
}

/// The schema of `tuning.json`: indented JSON with a final newline, always the same bytes.
pub fn tuning() -> String {
    describe::<Tuning>()
}

/// The schema of `origin.json`: indented JSON with a final newline, always the same bytes.
pub fn origin() -> String {
    describe::<Origin>()
}

/// What we *write*: every key is there, unknown values are null.
fn describe<T: JsonSchema>() -> String {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
