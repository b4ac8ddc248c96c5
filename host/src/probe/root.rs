//! Bounded reads below a root directory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use crate::CpuList;

/// The most that is read of one file. The largest that we need is `/proc/cpuinfo` (2.5 KiB per CPU) of a machine with
/// 1,600 CPUs.
const LIMIT: u64 = 4 << 20;

/// Entries of a directory that are looked at; real ones have below a hundred.
const MOST_NAMES: usize = 4096;

/// The root of a machine's file system: `/`, a tree of fixtures, or files that are in no file system.
pub(super) struct Root<'a> {
    path: &'a Path,
    /// Files that stand in for those below the path.
    files: Option<BTreeMap<String, String>>,
    /// What was read: path below the root, and content.
    read: Option<RefCell<BTreeMap<String, String>>>,
}

impl<'a> Root<'a> {
    pub(super) fn new(path: &'a Path) -> Root<'a> {
        Root { path, files: None, read: None }
    }

    /// A root that has these files, by their paths below it, and no others.
    pub(super) fn of_files(files: BTreeMap<String, String>) -> Root<'static> {
        Root { path: Path::new(""), files: Some(files), read: None }
    }

    /// A root that remembers what was read.
    pub(super) fn recording(path: &'a Path) -> Root<'a> {
        Root { path, files: None, read: Some(RefCell::default()) }
    }

    /// What was read, by its path below the root.
    pub(super) fn into_read(self) -> BTreeMap<String, String> {
        self.read.map(RefCell::into_inner).unwrap_or_default()
    }

    /// The content of a file, trimmed; the path is relative to the root.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let name = path.trim_start_matches('/');
        if let Some(files) = &self.files {
            return Some(trimmed(files.get(name)?));
        }
        let path = self.path.join(name);
        // Only a regular file, as those of sysfs and procfs are: opening a pipe would wait for its writer.
        if !fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(&path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
        let text = trimmed(&String::from_utf8_lossy(&bytes));
        if let Some(read) = &self.read {
            read.borrow_mut().insert(name.to_owned(), text.clone());
        }
        Some(text)
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        if let Some(files) = &self.files {
            let dir = format!("{}/", path.trim_matches('/'));
            let below = files.range(dir.clone()..).map_while(|(path, _)| path.strip_prefix(&dir));
            let mut names: Vec<String> = below.filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
            names.dedup();
            names.truncate(MOST_NAMES);
            return names;
        }
        let Ok(entries) = fs::read_dir(self.path.join(path.trim_start_matches('/'))) else {
            return Vec::new();
        };
        let names = entries.take(MOST_NAMES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    /// A file that holds one number.
    pub(super) fn number<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// A file that holds a list of CPUs.
    pub(super) fn list(&self, path: &str) -> Option<CpuList> {
        CpuList::parse(&self.text(path)?)
    }

    /// The value of the first line `key: value`.
    pub(super) fn field(&self, path: &str, key: &str) -> Option<String> {
        fields(&self.text(path)?).find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
    }
}

/// The device tree ends its texts with NUL.
fn trimmed(text: &str) -> String {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned()
}

/// The lines `key : value` of a file of procfs.
pub(super) fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim()))
}

/// `24684084 kB`, as memory is given in procfs, in bytes.
pub(super) fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
