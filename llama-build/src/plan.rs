//! The compile plan.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};
use serde::{Deserialize, Serialize};

/// The environment variable through which the build script of `llama-sys` is told where the plan is.
pub const PLAN_VARIABLE: &str = "LLAMA_BUILD_PLAN";

/// Everything that CMake will be told. Written as JSON, so that the process that plans and the one that executes can
/// differ, and so that a bug report can carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompilePlan {
    /// `native` or `portable`.
    pub kind: String,
    /// Digest of our CMake project for this kind, so that another one is another plan.
    pub project_id: String,
    /// The target of our CMake project that is built.
    pub target: String,
    /// The patched source tree of llama.cpp.
    pub source: PathBuf,
    /// What that tree is: the git tree id and the digests of the patches, so that other source is another plan.
    pub source_id: String,
    /// What the build is made with and for: the compilers' versions, and for a native build the CPU. None of it shows on a
    /// command line, where ninja would see it, and all of it changes the result.
    pub made_with: String,
    /// Where objects and results go; kept between runs.
    pub build_dir: PathBuf,
    /// The `cmake` executable.
    pub cmake: PathBuf,
    /// The `ninja` executable.
    pub ninja: PathBuf,
    /// The C compiler.
    pub c_compiler: PathBuf,
    /// The C++ compiler.
    pub cxx_compiler: PathBuf,
    /// Scripts that stand in for compilers that need arguments of their own.
    #[serde(default)]
    pub wrappers: Vec<Wrapper>,
    /// Compilers and linkers that run at the same time.
    pub jobs: usize,
    /// CMake cache entries, `-DKEY=VALUE`.
    pub definitions: BTreeMap<String, String>,
    /// Flags that must stand on the command line that compiles ggml's CPU backend; the gate looks. One that ends with `=`
    /// stands for any value.
    pub required_flags: Vec<String>,
}

/// An executable script that is written before CMake runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrapper {
    /// Where; its directory holds nothing else.
    pub path: PathBuf,
    /// The script.
    pub text: String,
}

impl CompilePlan {
    /// The log of CMake and ninja.
    pub fn log(&self) -> PathBuf {
        self.build_dir.join("build.log")
    }

    /// Where executables and libraries are after the build.
    pub fn bin_dir(&self) -> PathBuf {
        self.cmake_dir().join("bin")
    }

    /// Where the BLAS plug-in is after a build with one.
    pub fn blas_dir(&self) -> PathBuf {
        self.cmake_dir().join("blas")
    }

    /// CMake's own build directory; the `cmake` crate always appends `build`.
    pub fn cmake_dir(&self) -> PathBuf {
        self.build_dir.join("build")
    }

    /// Where the plan of the last successful build of this target is kept. Missing: nothing is built, or the last build failed.
    pub fn built_stamp(&self) -> PathBuf {
        self.build_dir.join(format!("built-{}.json", self.target))
    }

    /// Where the error of the last build is kept, if it failed.
    pub fn failure(&self) -> PathBuf {
        self.build_dir.join("failed.json")
    }

    /// Whether the last successful build in this directory followed this plan.
    pub fn is_built(&self) -> bool {
        CompilePlan::read(&self.built_stamp()).is_ok_and(|built| built.gives_the_same_as(self))
    }

    /// Whether two plans give the same build; how many compilers run at once makes no difference.
    pub fn gives_the_same_as(&self, other: &CompilePlan) -> bool {
        *self == CompilePlan { jobs: self.jobs, ..other.clone() }
    }

    /// The definitions as CMake arguments, sorted; what `build_info.json` records.
    pub fn cmake_flags(&self) -> Vec<String> {
        self.definitions.iter().map(|(key, value)| format!("-D{key}={value}")).collect()
    }

    /// Reads a plan from its JSON file.
    ///
    /// # Errors
    /// The file cannot be read or is not a plan of this version.
    pub fn read(path: &Path) -> Result<CompilePlan> {
        let text = fs::read_to_string(path).map_err(|error| Error::io("cannot read", path, error))?;
        serde_json::from_str(&text).map_err(|error| {
            Error::new(codes::COMPILE_FAILED, format!("`{}` is not a compile plan: {error}", path.display()))
        })
    }

    /// Writes the plan, if the file does not already hold it: an unchanged file keeps its time stamp, and cargo then
    /// knows that nothing is to be done.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.to_json();
        if fs::read_to_string(path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| Error::io("cannot create", parent, error))?;
        }
        let staged = path.with_extension("new");
        fs::write(&staged, text)
            .and_then(|()| fs::rename(&staged, path))
            .map_err(|error| Error::io("cannot write", path, error))
    }

    fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a plan holds only strings and numbers");
        text.push('\n');
        text
    }
}

impl fmt::Display for CompilePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "compile llama.cpp, {} kind, {} jobs", self.kind, self.jobs)?;
        writeln!(f, "  source     {}", self.source.display())?;
        writeln!(f, "  made with  {}", self.made_with)?;
        writeln!(f, "  build dir  {}", self.build_dir.display())?;
        writeln!(f, "  cmake      {}", self.cmake.display())?;
        writeln!(f, "  ninja      {}", self.ninja.display())?;
        writeln!(f, "  compilers  {}, {}", self.c_compiler.display(), self.cxx_compiler.display())?;
        for flag in self.cmake_flags() {
            writeln!(f, "  {flag}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(dir: &Path) -> CompilePlan {
        CompilePlan {
            kind: "native".into(),
            project_id: "project".into(),
            target: "caravan".into(),
            source: "/src".into(),
            source_id: "tree".into(),
            made_with: "cc 1".into(),
            build_dir: dir.into(),
            cmake: "/bin/cmake".into(),
            ninja: "/bin/ninja".into(),
            c_compiler: "/bin/cc".into(),
            cxx_compiler: "/bin/c++".into(),
            wrappers: Vec::new(),
            jobs: 2,
            definitions: [("GGML_NATIVE".to_owned(), "ON".to_owned())].into(),
            required_flags: vec!["-march=native".into()],
        }
    }

    #[test]
    fn an_unchanged_plan_keeps_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/plan.json");
        let plan = plan(dir.path());
        plan.write(&file).unwrap();
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        plan.write(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        assert_eq!(CompilePlan::read(&file).unwrap(), plan);
    }

    #[test]
    fn built_means_built_by_this_plan_with_any_number_of_jobs() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path());
        assert!(!plan.is_built());
        plan.write(&plan.built_stamp()).unwrap();
        assert!(plan.is_built());
        assert!(CompilePlan { jobs: 1, ..plan.clone() }.is_built());
        assert!(!CompilePlan { made_with: "cc 2".into(), ..plan }.is_built());
    }

    #[test]
    fn a_damaged_plan_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plan.json");
        fs::write(&file, "{\"kind\":").unwrap();
        let error = CompilePlan::read(&file).unwrap_err().to_string();
        assert!(error.contains("plan.json` is not a compile plan"), "{error}");
    }
}
