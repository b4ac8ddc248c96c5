//! `list`: the installed builds.

use clap::Args;
use diagnostic::Result;
use serde_json::json;
use store::Installed;

use crate::{ui, workspace};

/// List the installed builds; the active one is marked
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let builds = workspace::store().list()?;
        if self.json {
            let rows: Vec<_> = builds.iter().map(row).collect();
            ui::print(serde_json::to_string_pretty(&rows).expect("rows hold only strings, numbers and booleans"))?;
        } else if builds.is_empty() {
            ui::note("nothing   is installed: `cargo xtask install-optimized` compiles a build for this machine");
        } else {
            builds.iter().try_for_each(|build| ui::print(line(build)))?;
        }
        Ok(())
    }
}

fn row(build: &Installed) -> serde_json::Value {
    json!({
        "id": build.id.to_string(),
        "active": build.active,
        "path": build.path,
        "size_bytes": build.size_bytes,
        "build_type": build.info.as_ref().ok().map(|info| info.build_type),
        "date": build.info.as_ref().ok().map(|info| info.date.to_string()),
        "damaged": build.info.as_ref().err().map(ToString::to_string),
    })
}

fn line(build: &Installed) -> String {
    let mark = if build.active { "*" } else { " " };
    let about = match &build.info {
        Ok(info) => format!("{}  {:>4} MB", info.date, build.size_bytes / 1_000_000),
        Err(error) => format!("damaged: {error}"),
    };
    format!("{mark} {}  {about}", build.id)
}
