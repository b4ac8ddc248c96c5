//! What a directory is stored on: how fast a model can be read for the first time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Sourced;

/// The file system that a path is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount_point: String,
    /// Its kind as the kernel names it: `ext4`, `nfs4`.
    pub file_system: String,
    /// What lies below; `None` where nothing says it, or where what says it is not to be believed.
    pub kind: Option<Sourced<DiskKind>>,
}

/// What a file system is kept on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskKind {
    /// No moving parts.
    SolidState,
    /// A disk that turns: models load slowly, and random reads are slow.
    Rotational,
    /// Another machine, or the host of this virtual machine.
    Network,
    /// Main memory: what is stored here is missing there.
    Memory,
    /// Layers of a container; writing copies.
    Overlay,
}

impl fmt::Display for DiskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskKind::SolidState => "solid state",
            DiskKind::Rotational => "rotating disk",
            DiskKind::Network => "network",
            DiskKind::Memory => "main memory",
            DiskKind::Overlay => "container layers",
        })
    }
}

/// `ext4 on / (solid state)`.
impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.file_system, self.mount_point)?;
        match &self.kind {
            Some(kind) => write!(f, " ({})", kind.value),
            None => write!(f, " (kind of disk unknown)"),
        }
    }
}
