//! Reading and writing JSON documents that carry a `schema_version`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use diagnostic::{Error, Result, codes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Both files are some ten KiB; this bounds what a damaged one can make us read.
const SIZE_LIMIT: u64 = 4 << 20;

/// One document type.
pub(crate) struct Format {
    /// What the file is called when it has no path yet.
    pub(crate) name: &'static str,
    /// The newest `schema_version` that we understand, and the one that we write.
    pub(crate) version: u32,
    /// What a person does about a damaged file.
    pub(crate) repair: &'static str,
}

/// The one key that has the same meaning in every version.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Versioned {
    schema_version: u64,
}

pub(crate) fn read<T: DeserializeOwned>(format: &Format, path: &Path) -> Result<T> {
    let fail = |source| Error::io("cannot read", path, source);
    // Asked first: opening a pipe would wait for its writer.
    if !path.metadata().map_err(fail)?.is_file() {
        return Err(corrupt(format, path, "it is not a file"));
    }
    let mut json = Vec::new();
    File::open(path).and_then(|file| file.take(SIZE_LIMIT + 1).read_to_end(&mut json)).map_err(fail)?;
    if json.len() as u64 > SIZE_LIMIT {
        return Err(corrupt(format, path, &format!("it is larger than {} MiB", SIZE_LIMIT >> 20)));
    }
    decode(format, &json, path)
}

pub(crate) fn decode<T: DeserializeOwned>(format: &Format, json: &[u8], path: &Path) -> Result<T> {
    // The version first: a newer format may differ in any other key.
    let Versioned { schema_version } = parse(json).map_err(|why| corrupt(format, path, &why))?;
    if schema_version > u64::from(format.version) {
        let message = format!(
            "`{}` has schema version {schema_version}, this program reads up to {}",
            path.display(),
            format.version
        );
        return Err(Error::new(codes::SCHEMA_NEWER, message).hint("update Caravan: a newer version wrote this file"));
    }
    if schema_version == 0 {
        return Err(corrupt(format, path, "key `schema_version`: invalid value: 0, expected at least 1"));
    }
    parse(json).map_err(|why| corrupt(format, path, &why))
}

/// Parses and says in one sentence which key is wrong, and how.
fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.inner().to_string().replace("missing field", "missing key");
        if error.inner().is_eof() {
            format!("it is truncated ({inner})")
        } else if path == "." || !error.inner().is_data() {
            inner
        } else {
            format!("key `{path}`: {inner}")
        }
    })?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

pub(crate) fn encode<T: Serialize + DeserializeOwned>(format: &Format, value: &T) -> Result<String> {
    let refused = |why: String| Error::new(codes::IO, format!("cannot write `{}`: {why}", format.name));
    let mut text = serde_json::to_string_pretty(value).map_err(|error| refused(error.to_string()))?;
    text.push('\n');
    // JSON has no NaN and no infinity, they become null: better no file than one that nobody can read.
    parse::<T>(text.as_bytes()).map_err(refused)?;
    Ok(text)
}

fn corrupt(format: &Format, path: &Path, why: &str) -> Error {
    Error::new(codes::BUILD_CORRUPT, format!("`{}` is damaged: {why}", path.display())).hint(format.repair)
}
