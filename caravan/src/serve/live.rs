//! Thread counts that change while the server runs: a ConfigMap was exchanged, or the cgroup's quota was (as when a pod is
//! resized in place).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use diagnostic::Result;
use host::Host;

use super::plan::{self, Inputs};
use crate::environment::{self, Variables};

/// How often the machine itself is looked at: on one of a hundred CPUs that is some thousand files.
const PROBE: Duration = Duration::from_secs(30);

/// What the server runs, and everything that may change it.
#[derive(Debug)]
pub(super) struct Threads {
    inputs: Inputs,
    variables: Variables,
    directory: Option<PathBuf>,
    now: (usize, usize),
    probed: Instant,
    /// The last complaint, so that it is made once.
    complaint: Option<String>,
}

/// What has happened since the last look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Threads for generation and for prompts, and why.
    To(usize, usize, String),
    /// What is said now cannot be used; the server goes on as it is.
    Unusable(String),
}

impl Threads {
    /// `variables` are those of the process, without the directory; `now` is what the server was started with.
    pub(super) fn new(
        inputs: Inputs,
        variables: Variables,
        directory: Option<PathBuf>,
        now: (usize, usize),
    ) -> Threads {
        Threads { inputs, variables, directory, now, probed: Instant::now(), complaint: None }
    }

    /// Looks again.
    pub(super) fn look(&mut self) -> Option<Change> {
        if self.probed.elapsed() >= PROBE {
            self.probed = Instant::now();
            self.inputs.host = Host::probe();
        }
        self.choose()
    }

    fn choose(&mut self) -> Option<Change> {
        self.inputs.variables = environment::with_directory(&self.variables, self.directory.as_deref());
        self.note(plan::choose_threads(&self.inputs).map(|choice| (choice.generation, choice.prompt, choice.why)))
    }

    fn note(&mut self, choice: Result<(usize, usize, String)>) -> Option<Change> {
        match choice {
            Ok((generation, prompt, why)) => {
                self.complaint = None;
                if self.now == (generation, prompt) {
                    return None;
                }
                self.now = (generation, prompt);
                Some(Change::To(generation, prompt, why))
            }
            Err(error) => {
                let text = error.to_string();
                if self.complaint.as_ref() == Some(&text) {
                    return None;
                }
                self.complaint = Some(text.clone());
                Some(Change::Unusable(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::serve::plan::tests::{host, inputs};

    #[test]
    fn a_directory_and_a_quota_change_the_threads_and_nonsense_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = Variables::from([set("CARAVAN_THREAD_MODE", "auto"), set("CARAVAN_JOB", "coding")]);
        let coding = |value: &str| fs::write(dir.path().join("CODING_THREADS"), value).unwrap();
        let mut threads = Threads::new(inputs(), variables, Some(dir.path().to_owned()), (6, 6));

        coding("6");
        assert_eq!(threads.choose(), None);
        coding("4\n");
        assert_eq!(threads.choose(), Some(Change::To(4, 4, "`CODING_THREADS`: 4".to_owned())));
        assert_eq!(threads.choose(), None);
        threads.inputs.host = host(8, Some(2.5));
        let Some(Change::To(2, 2, why)) = threads.choose() else { panic!("a smaller quota changes nothing") };
        assert!(why.contains("capped by the CPU budget"), "{why}");
        coding("none");
        assert!(matches!(threads.choose(), Some(Change::Unusable(_))));
        assert_eq!(threads.choose(), None, "it is said once");
        coding("1");
        assert_eq!(threads.choose(), Some(Change::To(1, 1, "`CODING_THREADS`: 1".to_owned())));
        coding("none");
        assert!(matches!(threads.choose(), Some(Change::Unusable(_))), "it is said again after it was mended");
    }
}
