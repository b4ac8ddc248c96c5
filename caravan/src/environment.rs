//! Variables, and the directory that stands in for them where they must change while a process runs.
//!
//! Kubernetes mounts a ConfigMap as a directory with one file per key, and exchanges all of them at once when the ConfigMap
//! changes. Variables of a running process never change. So [`DIRECTORY`] may name such a directory; its files count as
//! variables and win over them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Names the directory whose files stand in for variables.
pub(crate) const DIRECTORY: &str = "CARAVAN_CONFIG_DIR";

/// The longest value that is read, in bytes; thread counts and job names are far shorter.
const LONGEST: u64 = 4096;
/// The most files that are read.
const MOST: usize = 1024;

/// Variables by name. Those that are not valid UTF-8 are left out.
pub(crate) type Variables = BTreeMap<String, String>;

/// The variables of this process.
pub(crate) fn of_process() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The directory that these variables name, if they name one.
pub(crate) fn directory(variables: &Variables) -> Option<PathBuf> {
    variables.get(DIRECTORY).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// The variables with the files of `directory` in their place. A directory that cannot be read changes nothing: it may be
/// mounted later, and whoever needs one of its files says that it is missing.
pub(crate) fn with_directory(variables: &Variables, directory: Option<&Path>) -> Variables {
    let mut all = variables.clone();
    let entries = directory.and_then(|dir| fs::read_dir(dir).ok());
    for entry in entries.into_iter().flatten().flatten().take(MOST) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // `..data` and the like are Kubernetes' own links.
        if name.starts_with('.') {
            continue;
        }
        all.extend(read(&entry.path()).map(|value| (name, value)));
    }
    all
}

/// The text of a small file; `None` for anything else.
fn read(path: &Path) -> Option<String> {
    // Asked first: opening a pipe would wait for its writer.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    fs::File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_as_kubernetes_mounts_them_win_over_variables() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("..2026_01_01")).unwrap();
        fs::write(dir.path().join("..2026_01_01/CODING_THREADS"), "8\n").unwrap();
        symlink("..2026_01_01", dir.path().join("..data")).unwrap();
        symlink("..data/CODING_THREADS", dir.path().join("CODING_THREADS")).unwrap();
        fs::write(dir.path().join("LONG"), vec![b'x'; 10_000]).unwrap();
        fs::write(dir.path().join("BINARY"), [0xff, 0xfe]).unwrap();
        symlink("nowhere", dir.path().join("BROKEN")).unwrap();
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = Variables::from([set("CODING_THREADS", "4"), set("OTHER", "1")]);
        let all = with_directory(&variables, Some(dir.path()));
        assert_eq!(all["CODING_THREADS"], "8");
        assert_eq!(all["OTHER"], "1");
        assert_eq!(all["LONG"].len(), 4096);
        assert_eq!(all.len(), 3, "{all:?}");
        assert_eq!(with_directory(&variables, Some(&dir.path().join("missing"))), variables);
        assert_eq!(with_directory(&variables, None), variables);
    }
}
