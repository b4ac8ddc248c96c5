//! npm's lock file: does it pin every byte that npm will fetch?
//!
//! npm verifies the digests that a lock file names, and takes a package without one as it comes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use diagnostic::{Error, Result, codes};
use serde::Deserialize;

/// Ten times upstream's.
const LIMIT: u64 = 8 << 20;

#[derive(Deserialize)]
struct LockFile {
    #[serde(rename = "lockfileVersion")]
    version: u32,
    packages: BTreeMap<String, Package>,
}

#[derive(Deserialize)]
struct Package {
    integrity: Option<String>,
}

/// How many packages the lock file names, each of them pinned by a sha512.
pub(super) fn check(path: &Path) -> Result<usize> {
    let cannot_read = |error| Error::io("cannot read", path, error);
    let refused = |why: String| Error::new(codes::TOOL_FETCH, format!("`{}` {why}", path.display()));
    if fs::metadata(path).map_err(cannot_read)?.len() > LIMIT {
        return Err(refused(format!("is larger than {} MiB", LIMIT >> 20)));
    }
    let text = fs::read_to_string(path).map_err(cannot_read)?;
    let lock: LockFile =
        serde_json::from_str(&text).map_err(|error| refused(format!("is not a lock file of npm: {error}")))?;
    if lock.version < 2 {
        return Err(refused(format!("has version {}, which does not list every package", lock.version)));
    }
    // The package without a name is the page itself.
    let mut packages = lock.packages.iter().filter(|(name, _)| !name.is_empty());
    let unpinned = |package: &Package| !package.integrity.as_ref().is_some_and(|digest| digest.starts_with("sha512-"));
    if let Some((name, _)) = packages.clone().find(|(_, package)| unpinned(package)) {
        return Err(refused(format!("does not pin `{name}` by a sha512")));
    }
    match packages.by_ref().count() {
        0 => Err(refused("names no package".to_owned())),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<usize> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("package-lock.json");
        fs::write(&path, text).unwrap();
        check(&path)
    }

    #[test]
    fn every_package_must_be_pinned_by_a_strong_digest() {
        let lock =
            |packages: &str| checked(&format!(r#"{{"lockfileVersion": 3, "packages": {{"": {{}}{packages}}}}}"#));
        assert_eq!(lock(r#", "node_modules/a": {"integrity": "sha512-AAAA"}"#).unwrap(), 1);
        for loose in [
            r#", "node_modules/a": {"resolved": "git+ssh://git@host/a.git"}"#,
            r#", "node_modules/a": {"integrity": "sha1-AAAA"}"#,
            r#", "node_modules/b": {"integrity": "sha512-AAAA"}, "node_modules/a": {"link": true}"#,
        ] {
            let error = lock(loose).unwrap_err();
            assert_eq!(error.code(), codes::TOOL_FETCH);
            assert!(error.to_string().contains("does not pin `node_modules/a`"), "{error}");
        }
        assert!(lock("").unwrap_err().to_string().contains("names no package"));
    }

    #[test]
    fn what_is_no_lock_file_is_refused() {
        for text in ["", "[]", r#"{"lockfileVersion": 3}"#, r#"{"lockfileVersion": 1, "packages": {}}"#] {
            assert_eq!(checked(text).unwrap_err().code(), codes::TOOL_FETCH, "{text}");
        }
    }
}
