//! A person's machine: a home directory, a store, and the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use build_info::BuildId;
use diagnostic::Code;
use store::Store;
use tempfile::TempDir;
use testkit::registry::{REPOSITORY, RealRegistry};

use crate::artefacts::Artefact;

/// Everything that the program may read or write; removed at the end of the test.
pub(crate) struct Home {
    dir: TempDir,
    pub(crate) store: Store,
}

/// The files of a key pair.
pub(crate) struct Keys {
    pub(crate) secret: String,
    pub(crate) public: String,
}

impl Home {
    pub(crate) fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("store"));
        Home { dir, store }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in here as text.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }

    /// The program, with nothing of our own environment that could change what it does.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_through(&[env!("CARGO_BIN_EXE_xtask")], arguments)
    }

    /// As [`Home::command`], started by another program.
    pub(crate) fn command_through(&self, program: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("CARAVAN_HOME", self.store.root())
            .env("DOCKER_CONFIG", self.path().join("docker"))
            .env("NO_PROXY", "127.0.0.1")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(&mut self.command(arguments))
    }

    /// Starts the program and leaves it to itself.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        spawn(&mut self.command(arguments))
    }

    /// A new key pair without a password.
    pub(crate) fn keys(&self, name: &str) -> Keys {
        let secret = self.file(name);
        self.run(&["keygen", &secret, "--no-password"]).succeeds();
        Keys { public: format!("{secret}.pub"), secret }
    }

    /// Pushes an artefact, signed if there are keys.
    pub(crate) fn push(&self, artefact: &Artefact, reference: &str, keys: Option<&Keys>) -> Done {
        let mut arguments = vec!["push", reference, "--from", artefact.dir()];
        arguments.extend(keys.iter().flat_map(|keys| ["--sign-key", &keys.secret]));
        self.run(&arguments)
    }

    /// The names of what lies in `builds/`, hidden things too, sorted.
    pub(crate) fn builds(&self) -> Vec<String> {
        names(&self.store.builds())
    }

    /// The blobs in the cache, beginnings too.
    pub(crate) fn cached(&self) -> Vec<String> {
        names(&self.store.cache().join("blobs/sha256"))
    }

    /// The active build is this one, whole, and its tools run by the path that a person has in `PATH`.
    #[track_caller]
    pub(crate) fn assert_active(&self, artefact: &Artefact) {
        assert_eq!(self.store.active().unwrap().as_ref(), Some(&artefact.id));
        assert_eq!(self.store.verify(&artefact.id).unwrap().to_string(), "intact");
        assert_eq!(self.says(), artefact.says);
    }

    /// Nothing is installed, and nothing is left of the attempt.
    #[track_caller]
    pub(crate) fn assert_nothing_installed(&self) {
        assert_eq!(self.builds(), [""; 0]);
        assert_eq!(self.store.active().unwrap(), None);
    }

    /// What a tool of the active build says.
    #[track_caller]
    pub(crate) fn says(&self) -> String {
        let tool = self.store.bin().join("llama-server");
        let done = Command::new(&tool).arg("--version").env_clear().output();
        let done = done.unwrap_or_else(|error| panic!("`{}`: {error}", tool.display()));
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// What the store remembers of where a build came from last.
    pub(crate) fn origin(&self, id: &BuildId) -> serde_json::Value {
        self.origins(id).pop().unwrap()
    }

    /// What the store remembers of where a build came from, the last name last.
    pub(crate) fn origins(&self, id: &BuildId) -> Vec<serde_json::Value> {
        let path = self.store.origin_path(id);
        assert_eq!(path, self.store.root().join(format!("origins/{id}.json")));
        let origin: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        origin["arrivals"].as_array().unwrap().clone()
    }
}

/// Starts a command whose output somebody will read.
pub(crate) fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A command that has ended.
pub(crate) struct Done {
    pub(crate) exit: Option<i32>,
    /// Standard output.
    pub(crate) printed: String,
    /// Standard error.
    pub(crate) said: String,
}

impl Done {
    pub(crate) fn of(command: &mut Command) -> Done {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Done::from(output)
    }

    /// Waits for the end of what was started.
    pub(crate) fn wait(child: Child) -> Done {
        Done::from(child.wait_with_output().unwrap())
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Done {
        assert_eq!(self.exit, Some(0), "{}", self.said);
        assert!(!self.said.contains("error"), "{}", self.said);
        self
    }

    /// One error with this code and its exit number, which says this.
    #[track_caller]
    pub(crate) fn fails(self, code: &Code, saying: &str) -> Done {
        assert_eq!(self.exit, Some(code.exit.into()), "{}", self.said);
        let errors: Vec<_> = self.said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{}", self.said);
        assert!(errors[0].ends_with(&format!(" [{}]", code.name)), "{}", self.said);
        assert!(errors[0].contains(saying), "`{saying}` is not in:\n{}", self.said);
        assert!(!self.said.contains("panicked"), "{}", self.said);
        self
    }

    #[track_caller]
    pub(crate) fn saying(self, text: &str) -> Done {
        assert!(self.said.contains(text), "`{text}` is not in:\n{}", self.said);
        self
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done { exit: output.status.code(), printed: text(output.stdout), said: text(output.stderr) }
    }
}

/// A machine, and a registry with `v1`, signed.
pub(crate) struct Published {
    pub(crate) home: Home,
    pub(crate) registry: RealRegistry,
    pub(crate) keys: Keys,
    pub(crate) v1: Artefact,
    /// What names it.
    pub(crate) reference: String,
}

impl Published {
    pub(crate) fn new() -> Published {
        let (home, registry) = (Home::new(), RealRegistry::start());
        let (keys, v1) = (home.keys("signer"), crate::artefacts::v1(home.path()));
        let reference = reference(&registry.host);
        home.push(&v1, &reference, Some(&keys)).succeeds();
        Published { home, registry, keys, v1, reference }
    }

    /// As [`Published::new`], and `v1` is installed.
    pub(crate) fn installed() -> Published {
        let published = Published::new();
        published.home.run(&published.install(&[])).succeeds();
        published.home.assert_active(&published.v1);
        published
    }

    /// Moves the tag to `v2`.
    pub(crate) fn publish_v2(&self) -> Artefact {
        let v2 = crate::artefacts::v2(self.home.path());
        self.home.push(&v2, &self.reference, Some(&self.keys)).succeeds();
        v2
    }

    /// `install-fast` of what is published.
    pub(crate) fn install<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.install_from(&self.reference, more)
    }

    /// As [`Published::install`], by another name.
    pub(crate) fn install_from<'a>(&'a self, reference: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["install-fast", reference, "--key", &self.keys.public], more].concat()
    }

    /// Where the registry keeps the layer of `v1`.
    pub(crate) fn stored_layer(&self) -> PathBuf {
        self.registry.blob_path(&self.v1.layer().digest.sha256().to_string())
    }
}

/// The name of the test artefact in the registry at this host.
pub(crate) fn reference(host: &str) -> String {
    format!("{host}/{REPOSITORY}:stable")
}
