//! `/proc/self/mountinfo`.

use super::root::Root;

/// One line of `/proc/self/mountinfo`, as proc_pid_mountinfo(5) describes it.
pub(super) struct Mount {
    /// `8:1`: the device as the kernel numbers it, of major number 0 when there is none.
    pub(super) device: String,
    /// The directory of the mounted file system that is seen at `point`.
    pub(super) root: String,
    pub(super) point: String,
    /// `ext4`.
    pub(super) kind: String,
    /// What is mounted: `/dev/sda1`, `server:/export`.
    pub(super) source: String,
    /// Options of the file system; for cgroup v1 its controllers are among them.
    pub(super) options: String,
}

impl Mount {
    /// All that this process sees.
    pub(super) fn all(root: &Root) -> Vec<Mount> {
        root.text("proc/self/mountinfo").unwrap_or_default().lines().filter_map(Mount::parse).collect()
    }

    pub(super) fn parse(line: &str) -> Option<Mount> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(2);
        let mut file_system = file_system.split(' ');
        let mount = Mount {
            device: mount.next()?.to_owned(),
            root: unescaped(mount.next()?),
            point: unescaped(mount.next()?),
            kind: file_system.next()?.to_owned(),
            source: unescaped(file_system.next()?),
            options: file_system.next()?.to_owned(),
        };
        (!mount.point.split('/').any(|name| name == "..")).then_some(mount)
    }
}

/// mountinfo writes space, tab, newline and backslash as `\040`, three octal digits.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}
