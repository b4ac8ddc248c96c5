//! Whether the files of a build are the ones that were installed.

use std::fmt;

use build_info::{BuildId, BuildInfo, content_digest};
use diagnostic::{Error, Result, codes};

use crate::tree::{self, Node};
use crate::{Store, inventory};

/// How the files of a build differ from its digests. Paths are relative to the build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Files with other content, or replaced by something that is not a file of the build.
    pub wrong: Vec<String>,
    /// Files that are gone.
    pub missing: Vec<String>,
    /// Files that were not installed.
    pub extra: Vec<String>,
}

impl Verification {
    /// Whether nothing differs.
    pub fn is_intact(&self) -> bool {
        self.wrong.is_empty() && self.missing.is_empty() && self.extra.is_empty()
    }
}

impl fmt::Display for Verification {
    /// `intact`, or what differs: `wrong: bin/a; missing: lib/b, lib/c`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("wrong", &self.wrong), ("missing", &self.missing), ("extra", &self.extra)];
        let named: Vec<String> = parts
            .into_iter()
            .filter(|(_, paths)| !paths.is_empty())
            .map(|(what, paths)| format!("{what}: {}", paths.join(", ")))
            .collect();
        if named.is_empty() { f.write_str("intact") } else { f.write_str(&named.join("; ")) }
    }
}

impl Store {
    /// Compares every file of an installed build with its digest.
    ///
    /// # Errors
    /// No such build, its build information cannot be understood or belongs to another build, or we were interrupted.
    pub fn verify(&self, id: &BuildId) -> Result<Verification> {
        let info = self.info(id)?;
        compare(self, id, &info)
    }

    /// As [`Store::verify`], and a difference is an error.
    ///
    /// # Errors
    /// As [`Store::verify`], or [`codes::BUILD_CORRUPT`] when a file differs.
    pub(crate) fn ensure_intact(&self, id: &BuildId) -> Result<()> {
        let found = self.verify(id)?;
        if found.is_intact() {
            return Ok(());
        }
        Err(Error::new(codes::BUILD_CORRUPT, format!("build `{id}` is damaged: {found}")).hint(inventory::REPAIR))
    }
}

fn compare(store: &Store, id: &BuildId, info: &BuildInfo) -> Result<Verification> {
    if content_digest(&info.digests).to_string()[..id.content().len()] != *id.content() {
        let message = format!("`{}` belongs to another build than `{id}`", store.info_path(id).display());
        return Err(Error::new(codes::BUILD_CORRUPT, message).hint(inventory::REPAIR));
    }
    let root = store.build(id);
    let nodes = tree::walk(&root)?;
    let mut found = Verification::default();
    for (path, expected) in &info.digests {
        match nodes.get(path) {
            None => found.missing.push(path.clone()),
            Some(Node::Foreign(_)) => found.wrong.push(path.clone()),
            Some(Node::File) if tree::digest(&root.join(path))? != *expected => found.wrong.push(path.clone()),
            Some(Node::File) => {}
        }
    }
    found.extra = nodes.into_keys().filter(|path| !info.digests.contains_key(path)).collect();
    Ok(found)
}
