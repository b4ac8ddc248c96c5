//! Where OpenBLAS comes from: the system, apt when it may, otherwise PyPI.

use std::env;

use clap::ValueEnum;
use diagnostic::{Error, Result, codes};
use llama_build::blas::{self, OpenBlas};
use llama_build::toolchain::{Toolchain, pypi};

use crate::{apt, ui, workspace};

/// What a person wants of OpenBLAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wish {
    /// Measure with and without, keep the faster
    Auto,
    /// Use it
    On,
    /// Leave it out
    Off,
}

impl Wish {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Wish::Auto => "auto",
            Wish::On => "on",
            Wish::Off => "off",
        }
    }
}

/// Whether the system's package manager may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// The person has said yes to everything.
    Given,
    /// The person is asked, where there is one.
    Ask,
    /// Nothing is asked now; the answer counts as no.
    NotAsked,
}

/// How OpenBLAS will be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Not at all, and why.
    None(String),
    /// It is installed.
    System(OpenBlas),
    /// `apt-get install`, as root, with consent.
    Apt,
    /// The pinned wheel, unpacked in the cache.
    Pypi,
}

/// Decides, and asks the person where that is needed.
///
/// # Errors
/// Interrupted while asking.
pub(crate) fn plan(wish: Wish, toolchain: &Toolchain, consent: Consent, may_fetch: bool) -> Result<Plan> {
    if wish == Wish::Off {
        return Ok(Plan::None("switched off with `--blas off`".to_owned()));
    }
    if let Some(found) = blas::of_system(&toolchain.c) {
        return Ok(Plan::System(found));
    }
    if !may_fetch {
        return Ok(Plan::None("OpenBLAS is not installed, and nothing may be fetched".to_owned()));
    }
    let consents = match consent {
        _ if !apt::is_possible() => false,
        Consent::Given => true,
        Consent::Ask => env::var_os("CI").is_some() || ui::confirm("install libopenblas-dev with apt-get?")?,
        Consent::NotAsked => false,
    };
    Ok(if consents { Plan::Apt } else { Plan::Pypi })
}

/// Executes the plan. Trouble is no failure of the build: it goes on without OpenBLAS, and the reason is kept.
pub(crate) fn acquire(plan: &Plan, toolchain: &Toolchain) -> Result<OpenBlas, String> {
    let acquired = match plan {
        Plan::None(reason) => return Err(reason.clone()),
        Plan::System(found) => return Ok(found.clone()),
        Plan::Apt => install_with_apt(toolchain).or_else(|error| {
            ui::note(format!("openblas  {error}"));
            from_pypi(toolchain)
        }),
        Plan::Pypi => from_pypi(toolchain),
    };
    acquired.map_err(|error| format!("OpenBLAS is not available: {error}"))
}

fn from_pypi(toolchain: &Toolchain) -> Result<OpenBlas> {
    let dir = pypi::fetch(&pypi::OPENBLAS, &workspace::tools_dir(), &mut ui::note)?;
    blas::of_pypi(&dir, &toolchain.c)
}

fn install_with_apt(toolchain: &Toolchain) -> Result<OpenBlas> {
    ui::note("openblas  installing libopenblas-dev with apt-get");
    apt::install(&["libopenblas-dev"])?;
    blas::of_system(&toolchain.c).ok_or_else(|| {
        Error::new(codes::TOOL_MISSING, "libopenblas-dev is installed, but a program with it does not run")
    })
}
