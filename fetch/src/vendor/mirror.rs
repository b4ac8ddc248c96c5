//! Fetching the pinned tree from one mirror after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use build_info::Sha256Digest;
use diagnostic::{Code, Error, Result, codes};

use super::staging::Staging;
use super::{Progress, VendorPlan};
use crate::archive::Wanted;
use crate::http::{self, Limits};
use crate::pin::{GitId, Mirror, PythonModule, PythonName};

/// A machine without a way out must learn so within three seconds: the next mirror may well be reachable.
pub(super) const LIMITS: Limits = Limits {
    connect: Duration::from_millis(2500),
    read: Duration::from_secs(20),
    attempts: 3,
    backoff: Duration::from_millis(300),
    longest_pause: Duration::from_secs(10),
    whole: Duration::from_secs(20 * 60),
    // The archive of the pinned commit has about 45 MB.
    size: 512 << 20,
};

/// pip is given this long for one archive of 77 MB.
const PIP_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// The staged tree of the first mirror that delivers the pinned one, how many files it has, and the mirror's name.
pub(super) fn first_that_delivers(
    plan: &VendorPlan,
    staging: &Staging,
    progress: &mut dyn FnMut(Progress),
) -> Result<(PathBuf, usize, String)> {
    let mut failures: Vec<(String, Error)> = Vec::new();
    for (n, mirror) in plan.pin.mirrors.iter().enumerate() {
        let name = mirror.to_string();
        progress(Progress::Note(format!("fetching llama.cpp {} from {name}", plan.pin.commit.short())));
        let slot = staging.slot(&format!("mirror-{n}"))?;
        match deliver(plan, mirror, &slot, progress) {
            Ok((tree, files)) => return Ok((tree, files, name)),
            Err(error) if ends_the_search(error.code()) => return Err(error),
            Err(error) => {
                progress(Progress::Note(format!("{name} does not deliver: {error}")));
                failures.push((name, error));
            }
        }
        fs::remove_dir_all(&slot).map_err(|error| Error::io("cannot remove", &slot, error))?;
    }
    Err(all_failed(plan.pin.commit, &failures))
}

/// Failures that lie on our side: another mirror would meet them as well.
fn ends_the_search(code: &Code) -> bool {
    [codes::INTERRUPTED, codes::IO, codes::DISK_FULL, codes::NO_PERMISSION].contains(&code)
}

fn all_failed(commit: GitId, failures: &[(String, Error)]) -> Error {
    // What comes first matters most: bytes that are not the pinned ones, then a commit that nobody knows.
    let met = |code: &Code| failures.iter().any(|(_, error)| error.code() == code);
    let altered = [codes::DIGEST_MISMATCH, codes::TREE_MISMATCH, codes::ARCHIVE_INVALID].into_iter().find(|c| met(c));
    let unknown = met(codes::NOT_FOUND).then_some(codes::PIN_INVALID);
    let code = altered.or(unknown).unwrap_or(codes::UNREACHABLE);
    let mut message = format!("no mirror delivers llama.cpp at commit {commit}");
    for (name, error) in failures {
        message += &format!("\n  {name}: {error}");
    }
    let error = Error::new(code, message)
        .hint("give a local copy of the source with `cargo xtask vendor --source DIR|TARBALL`");
    if code == codes::PIN_INVALID {
        return error.hint("check `commit` in `vendor/llama.cpp.toml`: upstream does not know it");
    }
    error.hint("behind a proxy set `HTTPS_PROXY`; for Python packages pip's own settings count (`PIP_INDEX_URL`, `pip config`)")
}

fn deliver(
    plan: &VendorPlan,
    mirror: &Mirror,
    slot: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(PathBuf, usize)> {
    let tree = slot.join("tree");
    fs::create_dir(&tree).map_err(|error| Error::io("cannot create", &tree, error))?;
    let (archive, wanted) = match mirror {
        Mirror::Archive { .. } => {
            let url = mirror.archive_url(plan.pin.commit).expect("an archive mirror has an address");
            let archive = slot.join("archive.tar.gz");
            http::download(&url, &archive, None, &LIMITS, &mut |bytes, of| progress(Progress::Bytes(bytes, of)))?;
            (archive, Wanted::BelowSingleTop)
        }
        Mirror::PypiSdist { package, version, sha256, directory, backend } => {
            let archive = pip_download(slot, package, version, *sha256, backend)?;
            (archive, Wanted::Below(directory.into()))
        }
    };
    let files = plan.unpack(&archive, &wanted, &tree, &format!("the source from {mirror}"))?;
    Ok((tree, files))
}

/// Lets pip fetch one source distribution: it knows the index, the proxy and the certificates that people have set up.
///
/// To learn a package's metadata pip first installs what its build backend asks for, then runs that backend: code that
/// no digest of ours covers, for an archive that we only want to read. So pip is told to take the backend from the
/// environment, and finds there one of ours that writes three lines.
fn pip_download(
    slot: &Path,
    package: &PythonName,
    version: &PythonName,
    sha256: Sha256Digest,
    backend: &PythonModule,
) -> Result<PathBuf> {
    let write = |path: &Path, text: &str| fs::write(path, text).map_err(|error| Error::io("cannot write", path, error));
    let create = |path: &Path| fs::create_dir_all(path).map_err(|error| Error::io("cannot create", path, error));
    let requirements = slot.join("requirements.txt");
    write(&requirements, &format!("{package}=={version} --hash=sha256:{sha256}\n"))?;
    let modules = slot.join("modules");
    let module = backend.parts().fold(modules.clone(), |path, part| path.join(part));
    create(&module)?;
    let mut package_dir = module.clone();
    while package_dir != modules {
        write(&package_dir.join("__init__.py"), "")?;
        package_dir.pop();
    }
    write(&module.join("__init__.py"), &stand_in(package, version))?;
    let downloads = slot.join("downloads");
    create(&downloads)?;

    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"])
        .args(["--retries", "2", "--no-build-isolation", "--no-deps", "--require-hashes", "--no-binary"])
        .arg(package.to_string())
        .arg("-r")
        .arg(&requirements)
        .arg("-d")
        .arg(&downloads)
        .env("PYTHONPATH", &modules)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Its own temporary copies go the same way as ours when we are interrupted.
        .env("TMPDIR", slot);
    let done = process::run(&mut pip, PIP_TIMEOUT)?;
    if !done.status.success() {
        return Err(pip_failed(&done.stderr, done.last_words()));
    }
    let archive = single_file(&downloads)?;
    // pip has checked this; we do not have to believe it.
    let actual = http::sha256_of(&archive)?;
    if actual != sha256 {
        return Err(http::mismatch(&format!("{package} {version}"), sha256, actual));
    }
    Ok(archive)
}

/// A build backend that knows the package's name and nothing else.
fn stand_in(package: &PythonName, version: &PythonName) -> String {
    let module = package.to_string().replace(['-', '.'], "_");
    format!(
        "import os\n\n\n\
         def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):\n    \
             info = os.path.join(metadata_directory, '{module}-{version}.dist-info')\n    \
             os.mkdir(info)\n    \
             with open(os.path.join(info, 'METADATA'), 'w') as file:\n        \
                 file.write('Metadata-Version: 2.1\\nName: {module}\\nVersion: {version}\\n')\n    \
             return os.path.basename(info)\n"
    )
}

/// What pip's complaint means.
fn pip_failed(stderr: &str, last_words: &str) -> Error {
    if stderr.contains("DO NOT MATCH THE HASHES") {
        let lines: Vec<_> = stderr.lines().map(str::trim).collect();
        let digest = |label| {
            let line = lines.iter().find_map(|line| line.strip_prefix(label));
            line.and_then(|rest| rest.split_whitespace().last()).unwrap_or("unknown").to_owned()
        };
        return Error::new(
            codes::DIGEST_MISMATCH,
            format!("the package has the sha256 {}, but {} is expected", digest("Got"), digest("Expected")),
        );
    }
    if stderr.contains("No space left on device") {
        return Error::new(codes::DISK_FULL, "pip fails: no space left on device");
    }
    let broken = stderr.contains("connection broken by") || stderr.contains("Could not fetch URL");
    let why = last_words.trim_start_matches("ERROR: ");
    Error::new(
        codes::UNREACHABLE,
        if broken { format!("pip reaches no package index ({why})") } else { format!("pip fails: {why}") },
    )
}

fn single_file(dir: &Path) -> Result<PathBuf> {
    let cannot_read = |error| Error::io("cannot read", dir, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(cannot_read)? {
        paths.push(entry.map_err(cannot_read)?.path());
    }
    match <[PathBuf; 1]>::try_from(paths) {
        Ok([path]) => Ok(path),
        Err(paths) => {
            Err(Error::new(codes::UNREACHABLE, format!("pip reports success, but left {} files", paths.len())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn what_pip_says_becomes_one_reason() {
        let tampered = pip_failed(
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have ...\n    \
             p==1 from https://h/p.tar.gz:\n        Expected sha256 aa\n             Got        bb\n",
            "Got        bb",
        );
        assert_eq!(tampered.code(), codes::DIGEST_MISMATCH);
        assert_snapshot!(tampered, @"the package has the sha256 bb, but aa is expected");
        let offline = pip_failed(
            "WARNING: Retrying (...) after connection broken by 'NewConnectionError(...)': /simple/p/\nERROR: No matching distribution found for p==1\n",
            "ERROR: No matching distribution found for p==1",
        );
        assert_eq!(offline.code(), codes::UNREACHABLE);
        assert_snapshot!(offline, @"pip reaches no package index (No matching distribution found for p==1)");
        assert_snapshot!(pip_failed("", "/usr/bin/python3: No module named pip"), @"pip fails: /usr/bin/python3: No module named pip");
    }

    #[test]
    fn when_all_fail_the_worst_reason_gives_the_code() {
        let commit = "0123456789012345678901234567890123456789".parse().unwrap();
        let offline = || ("archive `a`".to_owned(), Error::new(codes::UNREACHABLE, "no route"));
        let unknown = || ("archive `b`".to_owned(), Error::new(codes::NOT_FOUND, "HTTP 404"));
        let tampered = || ("python package `p` 1".to_owned(), Error::new(codes::DIGEST_MISMATCH, "wrong bytes"));
        assert_eq!(all_failed(commit, &[offline(), offline()]).code(), codes::UNREACHABLE);
        assert_eq!(all_failed(commit, &[unknown(), offline()]).code(), codes::PIN_INVALID);
        let error = all_failed(commit, &[unknown(), tampered()]);
        assert_eq!(error.code(), codes::DIGEST_MISMATCH);
        assert_snapshot!(error, @"
        no mirror delivers llama.cpp at commit 0123456789012345678901234567890123456789
          archive `b`: HTTP 404
          python package `p` 1: wrong bytes
        ");
        assert!(error.hints()[0].contains("--source"));
    }
}
