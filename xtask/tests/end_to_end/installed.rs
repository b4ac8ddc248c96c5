//! The installed llama.cpp that the tests look at.

use std::borrow::BorrowMut;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A store with an active build.
pub(crate) struct Installed {
    home: PathBuf,
    /// Removed with the last test that uses the copy.
    copy: Option<TempDir>,
}

impl Installed {
    /// The store that `cargo xtask test` has filled.
    pub(crate) fn find() -> Installed {
        let home = env::var_os("CARAVAN_TEST_HOME")
            .expect("CARAVAN_TEST_HOME names no store with an installed build: run `cargo xtask test`");
        Installed { home: home.into(), copy: None }
    }

    /// A copy in a temporary directory, to change at will.
    pub(crate) fn copied(&self) -> Installed {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        for part in ["builds", "current", "bin", "lib", "tuning"] {
            if fs::symlink_metadata(self.home.join(part)).is_ok() {
                let status = Command::new("cp").arg("-a").arg(self.home.join(part)).arg(&home).status().unwrap();
                assert!(status.success());
            }
        }
        // Models and tools are large and only read.
        for part in ["models", "cache"] {
            std::os::unix::fs::symlink(self.home.join(part), home.join(part)).unwrap();
        }
        Installed { home, copy: Some(dir) }
    }

    /// The same store under another name.
    pub(crate) fn renamed(self) -> Installed {
        let home = self.home.with_file_name("moved");
        fs::rename(&self.home, &home).unwrap();
        Installed { home, copy: self.copy }
    }

    pub(crate) fn bin(&self) -> PathBuf {
        self.home.join("bin")
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The portable build beside the active one.
    pub(crate) fn portable(&self) -> Portable {
        let builds = fs::read_dir(self.home.join("builds")).unwrap().map(|entry| entry.unwrap().path());
        let is_portable = |dir: &PathBuf| dir.file_name().unwrap().to_string_lossy().starts_with("portable-");
        let dir = builds.into_iter().find(is_portable).unwrap_or_else(|| {
            panic!("`{}` holds no portable build: run `cargo xtask test`, which installs one", self.home.display())
        });
        Portable { dir }
    }

    pub(crate) fn tool(&self, name: &str) -> Command {
        Command::new(self.bin().join(name))
    }

    pub(crate) fn xtask(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).env("CARAVAN_HOME", &self.home);
        command
    }

    pub(crate) fn active_id(&self) -> String {
        let target = fs::read_link(self.home.join("current")).unwrap();
        target.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// The tiny model that the installation has left.
    pub(crate) fn tiny_model(&self) -> PathBuf {
        let model = self.home.join("models/tiny-q4_k_m.gguf");
        assert!(Path::new(&model).is_file(), "`{}` is missing", model.display());
        model
    }
}

/// A portable build in the store.
pub(crate) struct Portable {
    dir: PathBuf,
}

impl Portable {
    pub(crate) fn id(&self) -> String {
        self.dir.file_name().unwrap().to_str().unwrap().to_owned()
    }

    pub(crate) fn bin(&self, tool: &str) -> PathBuf {
        self.dir.join("bin").join(tool)
    }

    /// The names of its CPU variants, by its files.
    pub(crate) fn variants(&self) -> Vec<String> {
        let files = fs::read_dir(self.dir.join("lib")).unwrap();
        let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let variant = |name: String| Some(name.strip_prefix("libggml-cpu-")?.strip_suffix(".so")?.to_owned());
        names.into_iter().filter_map(variant).collect()
    }
}

pub(crate) fn output(mut command: impl BorrowMut<Command>) -> Output {
    let command = command.borrow_mut();
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
