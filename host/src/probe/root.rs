//! Bounded reads below a root directory.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use crate::CpuList;

/// The most that is read of one file. The largest that we need is `/proc/cpuinfo` (2.5 KiB per CPU) of a machine with
/// 1,600 CPUs.
const LIMIT: u64 = 4 << 20;

/// The root of a machine's file system: `/`, or a tree of fixtures.
pub(super) struct Root<'a>(pub(super) &'a Path);

impl Root<'_> {
    /// The content of a file, trimmed; the path is relative to the root.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let path = self.0.join(path.trim_start_matches('/'));
        // Only a regular file, as those of sysfs and procfs are: opening a pipe would wait for its writer.
        if !fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(&path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
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

/// The lines `key : value` of a file of procfs.
pub(super) fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim()))
}
