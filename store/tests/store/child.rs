//! The store used by a process of its own, so that it can wait, be interrupted, be killed, or run out of disk.
//!
//! The process is this very test program, told to run the one ignored test below.

use std::env;
use std::path::Path;

use diagnostic::Result;
use process::interrupt;
use rustix::process::{Resource, Rlimit, setrlimit};
use store::Store;
use testkit::child::Running;

use crate::support::*;

const ACTION: &str = "CARAVAN_STORE_TEST_ACTION";
const ROOT: &str = "CARAVAN_STORE_TEST_ROOT";

/// Starts an action; see [`act`] for what there is.
pub(crate) fn start(store: &Store, action: &str) -> Running {
    start_in(".".as_ref(), store, action)
}

/// As [`start`], in another working directory.
pub(crate) fn start_in(directory: &Path, store: &Store, action: &str) -> Running {
    let mut command = testkit::child::command();
    testkit::child::start(command.env(ACTION, action).env(ROOT, store.root()).current_dir(directory))
}

#[test]
#[ignore = "started by other tests as a process of its own"]
fn runs_an_action() {
    let (Ok(action), Ok(root)) = (env::var(ACTION), env::var(ROOT)) else { return };
    let result = act(&Store::at(root), &action);
    println!("result: {}", result.map_or_else(|error| error.code().name.to_owned(), |()| "ok".to_owned()));
}

fn act(store: &Store, action: &str) -> Result<()> {
    let (verb, argument) = action.split_once(' ').unwrap_or((action, ""));
    match verb {
        "install" => {
            interrupt::install();
            let writer = store.lock(|holder| println!("waiting: {}", holder.unwrap()))?;
            try_install(&writer, argument).map(drop)
        }
        // Holds the lock until killed.
        "hold" => {
            let _held = store.lock(|holder| println!("waiting: {}", holder.unwrap()))?;
            println!("holding:");
            loop {
                std::thread::park();
            }
        }
        // Installs a build whose tool has this body.
        "try" => {
            interrupt::install();
            let writer = writer(store);
            let staging = writer.stage()?;
            fill(&staging, "bad");
            script(&staging.bin().join(TOOL), argument);
            writer.commit(staging, info(), &smoke()).map(drop)
        }
        "install-on-full-disk" => {
            let writer = writer(store);
            let staging = writer.stage()?;
            fill(&staging, argument);
            fill_the_disk();
            writer.commit(staging, info(), &smoke()).map(drop)
        }
        "use-on-full-disk" => {
            fill_the_disk();
            writer(store).use_build(argument).map(drop)
        }
        "rollback-on-full-disk" => {
            fill_the_disk();
            writer(store).rollback().map(drop)
        }
        "uninstall-on-full-disk" => {
            fill_the_disk();
            writer(store).uninstall(argument).map(drop)
        }
        // Every kind of change, until killed.
        "churn" => {
            println!("ready:");
            loop {
                let writer = store.lock(|_| {})?;
                for name in ["elm", "fir"] {
                    let id = try_install(&writer, name)?.activation.to;
                    std::fs::remove_file(store.build(&id).join("share/LICENSE")).unwrap();
                    try_install(&writer, name)?;
                    writer.rollback()?;
                    writer.uninstall(&id.to_string())?;
                }
            }
        }
        _ => panic!("unknown action {action}"),
    }
}

/// From now on this process can create files, but not write into them.
fn fill_the_disk() {
    setrlimit(Resource::Fsize, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
}
