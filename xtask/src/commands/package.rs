//! `package`: the portable build, checked and packed as an OCI artefact.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use diagnostic::{Error, Result, codes};
use elf::tree_differences;
use host::Host;
use llama_build::portable::{Debug, Part};
use oci::Descriptor;

use crate::layout::Target;
use crate::portable::{Compiled, PageWish, Place, Tree};
use crate::{compile, machine, portable, proof, ui, workspace};

/// Build the portable llama.cpp with every CPU variant, check it, and pack it as an OCI artefact
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The layout directory to write; `dist/oci` in the repository when not given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Build again, in another directory and another environment, and compare: everything, or ggml with two variants and one
    /// tool
    #[arg(long, value_enum, value_name = "whole|part", num_args = 0..=1, default_missing_value = "whole", hide_possible_values = true)]
    check_reproducible: Option<Extent>,
    /// Leave out the web page of llama-server
    #[arg(long)]
    no_page: bool,
    /// Compilers that run at the same time; otherwise what the CPU budget and memory allow
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    jobs: Option<u16>,
    /// Take llama.cpp's source from a directory or tarball instead of a mirror; it is verified all the same
    #[arg(long, value_name = "DIR|TARBALL")]
    source: Option<PathBuf>,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
}

/// How much is built again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Extent {
    Whole,
    Part,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        let page = if self.no_page { PageWish::No } else { PageWish::Yes };
        let plan = Plan {
            out: Target::new(&self.out.unwrap_or_else(layout_dir))?,
            portable: portable::plan(self.source.as_deref(), page, jobs(self.jobs))?,
            debug: Debug::Lines,
            check: self.check_reproducible,
        };
        if self.dry_run {
            return ui::print(plan.to_string());
        }
        let packed = run(&plan)?;
        ui::note(format!("packed    {} in {} s", packed.digest, start.elapsed().as_secs()));
        Ok(())
    }
}

/// What will be built, compared and written.
struct Plan {
    portable: portable::Plan,
    debug: Debug,
    out: Target,
    check: Option<Extent>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.portable)?;
        match self.check {
            Some(Extent::Whole) => writeln!(f, "build it again elsewhere and compare every file")?,
            Some(Extent::Part) => writeln!(f, "build a part again elsewhere and compare its files")?,
            None => {}
        }
        write!(f, "pack into the layout {}", self.out.dir().display())
    }
}

/// Compilers that run at the same time.
pub(crate) fn jobs(wanted: Option<u16>) -> usize {
    wanted.map_or_else(|| machine::default_jobs(&Host::probe()), usize::from)
}

/// Builds the portable kind and packs it into the usual layout, for commands that need one.
pub(crate) fn build_here(jobs: usize) -> Result<Descriptor> {
    let out = Target::new(&layout_dir())?;
    run(&Plan {
        portable: portable::plan(None, PageWish::IfItCanBeFetched, jobs)?,
        debug: Debug::None,
        out,
        check: None,
    })
}

/// Where the layout lies when nobody says otherwise.
pub(crate) fn layout_dir() -> PathBuf {
    workspace::root().join("dist/oci")
}

fn run(plan: &Plan) -> Result<Descriptor> {
    let _building = compile::lock()?;
    let place = Place::usual(plan.debug);
    let compiled = portable::compile(&plan.portable, Part::Whole, &place)?;
    let tree = sealed(&compiled, &plan.portable, &place.dir.join("whole"))?;
    ui::note("checked   libraries, glibc, instructions and paths of every file");
    let page = if compiled.page.is_some() { proof::Page::Inside } else { proof::Page::None };
    proof::everything(&tree.dir.join("bin"), page)?;
    match plan.check {
        Some(Extent::Whole) => compare(&plan.portable, Part::Whole, &tree)?,
        Some(Extent::Part) => compare(&plan.portable, Part::Sample, &sample(&plan.portable, &place)?)?,
        None => {}
    }
    plan.out.pack(&tree.dir)
}

/// The part of the usual build that will be built again.
fn sample(plan: &portable::Plan, place: &Place) -> Result<Tree> {
    sealed(&portable::compile(plan, Part::Sample, place)?, plan, &place.dir.join("part"))
}

fn sealed(compiled: &Compiled, plan: &portable::Plan, dir: &Path) -> Result<Tree> {
    let tree = Tree::collect(compiled, dir)?;
    tree.seal(compiled, plan)?;
    Ok(tree)
}

/// Builds a part again where everything is different that must not matter, debug information among it, and compares.
///
/// # Errors
/// [`codes::NOT_REPRODUCIBLE`], naming the first file that differs, and where in it.
fn compare(plan: &portable::Plan, part: Part, first: &Tree) -> Result<()> {
    let dir = workspace::llama_target_dir().join("portable again, elsewhere");
    ui::note(format!("comparing with a build in `{}`", workspace::short(&dir)));
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|error| Error::io("cannot remove", &dir, error))?;
    }
    // `LANG` would lose to the `LC_ALL` that the driver sets before.
    let environment =
        [("HOME", "/nonexistent"), ("TZ", "Pacific/Chatham"), ("LC_ALL", "tr_TR.UTF-8"), ("USER", "other")];
    let place = Place { dir: dir.clone(), jobs: Some(plan.jobs() + 1), debug: Debug::None, environment: &environment };
    let again = sealed(&portable::compile(plan, part, &place)?, plan, &dir.join("tree"))?;
    same(&first.dir, &again.dir)?;
    fs::remove_dir_all(&dir).map_err(|error| Error::io("cannot remove", &dir, error))?;
    ui::note("compared  two builds in two directories are the same bytes");
    Ok(())
}

/// Fails unless two trees hold the same bytes.
fn same(first: &Path, again: &Path) -> Result<()> {
    let differences = tree_differences(first, again)?;
    if let Some(difference) = differences.first() {
        let more = match differences.len() {
            1 => String::new(),
            n => format!(", and {} more files", n - 1),
        };
        return Err(Error::new(codes::NOT_REPRODUCIBLE, format!("two builds differ: {difference}{more}"))
            .hint(format!("compare `{}` with `{}`", first.display(), again.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_makes_a_build_not_reproducible() {
        let dir = tempfile::tempdir().unwrap();
        let [first, again] = ["first", "again"].map(|name| dir.path().join(name));
        for tree in [&first, &again] {
            fs::create_dir_all(tree.join("lib")).unwrap();
            fs::write(tree.join("lib/a.txt"), "the same").unwrap();
            fs::write(tree.join("lib/b.txt"), "the same").unwrap();
        }
        same(&first, &again).unwrap();

        fs::write(again.join("lib/b.txt"), "the sane").unwrap();
        let error = same(&first, &again).unwrap_err();
        assert_eq!(error.code(), codes::NOT_REPRODUCIBLE);
        let said = error.to_string();
        assert!(said.starts_with("two builds differ: ") && said.contains("lib/b.txt"), "{said}");
        assert!(!said.contains("more files"), "{said}");
        assert!(error.hints()[0].contains(&again.display().to_string()), "{:?}", error.hints());

        fs::remove_file(again.join("lib/a.txt")).unwrap();
        let said = same(&first, &again).unwrap_err().to_string();
        assert!(said.contains("lib/a.txt") && said.ends_with(", and 1 more files"), "{said}");
    }
}
