//! The command that installs a missing part on this distribution.

use std::fs;

/// Something that only the system can provide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    C,
    Cxx,
    Pip,
}

/// Package names per family: C compiler, C++ compiler, python3 with pip.
struct Family {
    ids: &'static [&'static str],
    install: &'static str,
    packages: [&'static str; 3],
}

const FAMILIES: &[Family] = &[
    Family {
        ids: &["debian", "ubuntu"],
        install: "apt-get install",
        packages: ["gcc", "g++", "python3-pip python3-venv"],
    },
    Family { ids: &["fedora", "rhel", "centos"], install: "dnf install", packages: ["gcc", "gcc-c++", "python3-pip"] },
    Family { ids: &["arch"], install: "pacman -S", packages: ["gcc", "gcc", "python-pip"] },
    Family { ids: &["suse", "opensuse"], install: "zypper install", packages: ["gcc", "gcc-c++", "python3-pip"] },
    Family { ids: &["alpine"], install: "apk add", packages: ["gcc musl-dev", "g++", "py3-pip"] },
];

/// The command for the distribution that `/etc/os-release` names; `None` when we do not know it.
pub(super) fn install_command(missing: &[Part]) -> Option<String> {
    let os_release =
        fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release")).ok()?;
    command_for(&os_release, missing)
}

fn command_for(os_release: &str, missing: &[Part]) -> Option<String> {
    let family = ids(os_release).find_map(|id| FAMILIES.iter().find(|family| family.ids.contains(&id)))?;
    let mut packages: Vec<&str> = missing.iter().flat_map(|part| family.packages[*part as usize].split(' ')).collect();
    packages.dedup();
    Some(format!("{} {}", family.install, packages.join(" ")))
}

/// `ID`, then the words of `ID_LIKE`: the nearest relative first.
fn ids(os_release: &str) -> impl Iterator<Item = &str> {
    let value = |key: &'static str| {
        os_release
            .lines()
            .filter_map(move |line| line.strip_prefix(key))
            .flat_map(|value| value.trim_matches('"').split(' '))
    };
    value("ID=").chain(value("ID_LIKE="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_fits_the_distribution() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n";
        assert_eq!(
            command_for(debian, &[Part::Cxx, Part::Pip]).unwrap(),
            "apt-get install g++ python3-pip python3-venv"
        );
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n";
        assert_eq!(command_for(mint, &[Part::C]).unwrap(), "apt-get install gcc");
        let rocky = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";
        assert_eq!(command_for(rocky, &[Part::Cxx]).unwrap(), "dnf install gcc-c++");
        assert_eq!(command_for("ID=arch\n", &[Part::C, Part::Cxx]).unwrap(), "pacman -S gcc");
        assert_eq!(command_for("ID=plan9\n", &[Part::C]), None);
    }
}
