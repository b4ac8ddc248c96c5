//! The crate used by a process of its own, so that it can be interrupted, killed, or run out of disk.
//!
//! The process is this very test program, told to run the one ignored test below.

use std::env;
use std::path::Path;
use std::process::Command;

use diagnostic::Result;
use oci::{Cache, Credentials};
use process::interrupt;
use rustix::process::{Resource, Rlimit, setrlimit};
use testkit::child::Running;

use crate::support;

const ACTION: &str = "CARAVAN_OCI_TEST_ACTION";
const DIRECTORY: &str = "CARAVAN_OCI_TEST_DIRECTORY";

/// The command of an action in a directory; see [`act`] for what there is.
pub(crate) fn command(dir: &Path, action: &str) -> Command {
    let mut command = testkit::child::command();
    command.env(ACTION, action).env(DIRECTORY, dir);
    command
}

pub(crate) fn start(dir: &Path, action: &str) -> Running {
    testkit::child::start(&mut command(dir, action))
}

#[test]
#[ignore = "started by other tests as a process of its own"]
fn runs_an_action() {
    let (Ok(action), Ok(dir)) = (env::var(ACTION), env::var(DIRECTORY)) else { return };
    let result = act(Path::new(&dir), &action);
    println!("result: {}", result.unwrap_or_else(|error| format!("{} {error}", error.code().name)));
}

fn act(dir: &Path, action: &str) -> Result<String> {
    let (verb, argument) = action.split_once(' ').unwrap();
    match verb {
        // Pulls the artefact from a registry at this host into the cache.
        "pull" => {
            interrupt::install();
            let cache = Cache::open(&dir.join("cache"))?;
            let source = support::source(argument);
            oci::pull(&source, &support::amd64(), &cache, &mut |done, total| println!("progress: {done} of {total}"))?;
            Ok("ok".to_owned())
        }
        // The same, but no file may grow beyond half a megabyte.
        "pull-on-full-disk" => {
            setrlimit(Resource::Fsize, Rlimit { current: Some(500_000), maximum: Some(500_000) }).unwrap();
            support::pull(&support::source(argument), &support::cache(dir))?;
            Ok("ok".to_owned())
        }
        // Pulls with whatever the environment has stored for this host.
        "pull-with-stored-credentials" => {
            let source = oci::Source::open(&support::reference(argument), &support::access(Credentials::Stored))?;
            support::pull(&source, &support::cache(dir))?;
            Ok("ok".to_owned())
        }
        _ => panic!("unknown action {action}"),
    }
}
