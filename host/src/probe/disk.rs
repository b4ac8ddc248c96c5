//! The disk below a path, from `/proc/self/mountinfo` and `/sys`.

use std::path::Path;

use super::mount::Mount;
use super::root::Root;
use crate::Sourced;
use crate::disk::{Disk, DiskKind};

impl Disk {
    /// Looks at what a path is stored on; of a path that does not exist yet, its nearest ancestor that does.
    pub fn probe(path: &Path) -> Option<Disk> {
        let path = std::path::absolute(path).ok()?;
        let existing = path.ancestors().find_map(|path| path.canonicalize().ok())?;
        Disk::probe_at(Path::new("/"), &existing)
    }

    /// The same on the machine whose `/sys` and `/proc` lie below `root`; `path` is absolute and without links.
    pub fn probe_at(root: &Path, path: &Path) -> Option<Disk> {
        let root = &Root::new(root);
        let mounts = Mount::all(root);
        // What is mounted later covers what was there, and comes later.
        let mount = mounts
            .iter()
            .filter(|mount| path.starts_with(&mount.point))
            .max_by_key(|mount| Path::new(&mount.point).components().count())?;
        Some(Disk {
            mount_point: mount.point.clone(),
            file_system: mount.kind.clone(),
            kind: by_file_system(&mount.kind).or_else(|| by_device(root, mount)),
        })
    }
}

/// What the name of the file system says already.
fn by_file_system(name: &str) -> Option<Sourced<DiskKind>> {
    let kind = match name {
        "tmpfs" | "ramfs" => DiskKind::Memory,
        "overlay" | "aufs" => DiskKind::Overlay,
        "nfs" | "nfs4" | "cifs" | "smb3" | "smbfs" | "ceph" | "glusterfs" | "lustre" | "afs" | "gpfs" | "beegfs"
        | "fuse.sshfs" | "fuse.s3fs" | "fuse.glusterfs" | "fuse.rclone" => DiskKind::Network,
        // Directories of the host of a virtual machine.
        "9p" | "virtiofs" | "vboxsf" | "drvfs" | "prl_fs" => DiskKind::Network,
        _ => return None,
    };
    Some(Sourced::new(kind, "/proc/self/mountinfo"))
}

/// What the kernel knows of the block device. A file system over several devices (btrfs, zfs) has none of its own;
/// then that of the device it was mounted by.
fn by_device(root: &Root, mount: &Mount) -> Option<Sourced<DiskKind>> {
    let device = match mount.device.starts_with("0:") {
        true => format!("/sys/class/block/{}", plain_name(mount.source.strip_prefix("/dev/")?)?),
        false => {
            let numbers = mount.device.split_once(':')?;
            let number = |text: &str| text.parse::<u32>().ok();
            format!("/sys/dev/block/{}:{}", number(numbers.0)?, number(numbers.1)?)
        }
    };
    let name = root.text(&format!("{device}/uevent"));
    let name = name.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("DEVNAME=")));
    // The disks of a virtual machine call themselves rotating unless somebody has taken care.
    if name.is_some_and(|name| ["vd", "xvd"].iter().any(|virtual_disk| name.starts_with(virtual_disk))) {
        return None;
    }
    // A partition has no queue, the disk around it does.
    [format!("{device}/queue/rotational"), format!("{device}/../queue/rotational")].into_iter().find_map(|source| {
        let kind = match root.number::<u8>(&source)? {
            0 => DiskKind::SolidState,
            1 => DiskKind::Rotational,
            _ => return None,
        };
        Some(Sourced::new(kind, source))
    })
}

/// A name that leads nowhere else; `mapper/root` is a link of another name.
fn plain_name(name: &str) -> Option<&str> {
    (!name.contains('/') && !name.starts_with('.')).then_some(name)
}
