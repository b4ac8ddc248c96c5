//! npm, run by the pinned Node.js: fetches the packages, runs upstream's build script.
//!
//! The two need different surroundings. Fetching sees the user's configuration and environment, as pip does, because they
//! know the registry to use, the proxy, the certificates and the tokens; what arrives is pinned. Building runs the code of
//! a thousand packages, and sees nothing of the user's.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use process::Finished;

use super::{Plan, Room};

/// 170 MB in 1,060 packages take a minute on an idle machine, and took 17 on one with eight times its load.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Takes 2 minutes of CPU time, and took half an hour on such a machine.
const BUILD_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// `npm ci`, and whatever the user's configuration says: install scripts stay off, all kinds of dependencies are wanted
/// (upstream lists the whole page as development dependencies, and the tools' native parts are optional ones), and the
/// layout is npm's own.
const CI: &[&str] = &[
    "ci",
    "--ignore-scripts",
    "--include=dev",
    "--include=optional",
    "--include=peer",
    "--install-strategy=hoisted",
    "--legacy-peer-deps=false",
    "--dry-run=false",
    "--global=false",
    "--prefer-offline",
    // By npm's own timing a machine without a network learns it after three minutes.
    "--fetch-retries=3",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=8000",
    "--audit=false",
    "--fund=false",
    "--update-notifier=false",
    "--progress=false",
    "--color=false",
    "--loglevel=error",
    "--logs-max=0",
];

/// Where distributions and administrators put npm's global configuration. npm looks beside its own Node.js, which for the
/// pinned one is a directory that nobody configures.
const GLOBAL_CONFIGURATIONS: &[&str] = &["/usr/local/etc/npmrc", "/usr/etc/npmrc", "/etc/npmrc"];
const GLOBAL_CONFIGURATION_VARIABLE: &str = "npm_config_globalconfig";

/// The wheel's own `npm` is a link that the wheel format has turned into a file in the wrong place; and upstream's script
/// calls `npm` by name.
const NPM: &str = "#!/bin/sh\nexec \"${0%/*}/node\" \"${0%/*}/npm-cli.js\" \"$@\"\n";

/// Makes `node` and `npm` programs of the directory `bin`.
pub(super) fn put_on_path(plan: &Plan, bin: &Path) -> Result<()> {
    let npm = bin.join("npm");
    fs::write(&npm, NPM)
        .and_then(|()| fs::set_permissions(&npm, Permissions::from_mode(0o755)))
        .map_err(|error| Error::io("cannot write", &npm, error))?;
    for (program, name) in [(&plan.node, "node"), (&plan.npm, "npm-cli.js")] {
        let link = bin.join(name);
        program
            .canonicalize()
            .and_then(|program| symlink(program, &link))
            .map_err(|error| Error::io("cannot use", program, error))?;
    }
    Ok(())
}

/// Fetches the packages that the lock file names into `node_modules`.
pub(super) fn install(plan: &Plan, room: &Room) -> Result<()> {
    let mut npm = npm(room);
    npm.args(CI).arg("--cache").arg(&plan.cache).arg("--prefix").arg(&room.ui);
    npm.env("PATH", path(room)).env("TMPDIR", &room.tmp);
    let is_set = env::vars_os().any(|(name, _)| name.eq_ignore_ascii_case(GLOBAL_CONFIGURATION_VARIABLE));
    if let Some(file) = GLOBAL_CONFIGURATIONS.iter().find(|file| !is_set && Path::new(file).is_file()) {
        npm.env(GLOBAL_CONFIGURATION_VARIABLE, file);
    }
    let done = process::run(&mut npm, FETCH_TIMEOUT)?;
    if done.status.success() { Ok(()) } else { Err(why_not_fetched(&done, &plan.cache)) }
}

/// Runs upstream's build script; what it says goes into the log.
pub(super) fn build(plan: &Plan, room: &Room) -> Result<()> {
    let mut npm = npm(room);
    npm.args(["run", "build"])
        .env_clear()
        .env("PATH", path(room))
        .env("HOME", &room.home)
        .env("TMPDIR", &room.tmp)
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .env("CI", "1")
        .env("NO_COLOR", "1")
        .env("STORYBOOK_DISABLE_TELEMETRY", "1")
        .env("npm_config_update_notifier", "false")
        .env("LLAMA_UI_OUT_DIR", room.dist())
        .env("LLAMA_UI_APP_VERSION", plan.name())
        .env("LLAMA_BUILD_NUMBER", &plan.shows);
    let log = plan.log();
    let done = process::run(&mut npm, BUILD_TIMEOUT)?;
    fs::write(&log, format!("{}\n{}", done.stdout, done.stderr))
        .map_err(|error| Error::io("cannot write", &log, error))?;
    if done.status.success() { Ok(()) } else { Err(why_not_built(&done, &log)) }
}

fn npm(room: &Room) -> Command {
    let mut command = Command::new(room.bin.join("npm"));
    command.current_dir(&room.ui);
    command
}

/// Our `node` and `npm` first; the rest is for `sh` and `env`.
fn path(room: &Room) -> std::ffi::OsString {
    let inherited = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(PathBuf::from(&room.bin)).chain(env::split_paths(&inherited));
    env::join_paths(dirs).unwrap_or_else(|_| room.bin.clone().into())
}

/// What npm's own error lines mean for a person.
fn why_not_fetched(done: &Finished, cache: &Path) -> Error {
    let lines: Vec<&str> = done.stderr.lines().filter_map(|line| line.strip_prefix("npm error ")).collect();
    let code = lines.iter().find_map(|line| line.strip_prefix("code ")).unwrap_or_default();
    let is_detail = |line: &str| ["code ", "errno ", "syscall ", "path ", "dest "].iter().any(|k| line.starts_with(k));
    let said = lines.iter().find(|line| !is_detail(line)).map_or_else(|| done.last_words(), |line| line.trim());
    if matches!(code, "ENOSPC" | "EDQUOT") {
        return Error::new(codes::DISK_FULL, "npm cannot write the packages of the web page: no space left on device")
            .hint(format!("they take 700 MB while the page is built, and 170 MB in `{}`", cache.display()));
    }
    if code == "EINTEGRITY" {
        return Error::new(
            codes::DIGEST_MISMATCH,
            format!("npm received a package that is not the one that upstream's lock file pins: {said}"),
        )
        .hint("ask who runs the registry or the proxy that npm is configured for");
    }
    let error = Error::new(codes::TOOL_FETCH, format!("npm could not fetch the packages of the web page: {said}"));
    match code {
        "E401" | "E403" | "ENEEDAUTH" => error.hint("the registry wants a token: `npm login` puts it into `~/.npmrc`"),
        "EBADENGINE" | "EUSAGE" => error,
        _ => error.hint("set npm's registry, proxy or certificates in `~/.npmrc` or in the environment"),
    }
}

/// The bundler's first error.
fn why_not_built(done: &Finished, log: &Path) -> Error {
    if done.stderr.contains("ENOSPC") {
        return Error::new(codes::DISK_FULL, "cannot build the web page: no space left on device");
    }
    let mut lines = done.stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let after_mark = lines.clone().skip_while(|line| *line != "error during build:").nth(1);
    let said = after_mark.or_else(|| lines.find(|line| line.contains("FATAL ERROR") || line.contains("Error: ")));
    let said = said.map_or_else(|| format!("npm ended with {}", done.ended_by()), str::to_owned);
    Error::new(codes::COMPILE_FAILED, format!("the web page of llama-server did not build: {said}"))
        .hint(format!("the whole log is `{}`", log.display()))
}
