//! Replicas of the server, each a pod of its own on a port of its own.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use rustix::process::Pid;
use testkit::registry::RealRegistry;

use crate::http;
use crate::manifests::{self, Replica, Stable};
use crate::podman::{self, Podman};

/// What stands for a cluster: a registry with the image, a runtime with a volume, and the manifests.
pub(crate) struct Cluster {
    // Dropped first: pods go before the registry does.
    podman: Rc<Podman>,
    stable: Stable,
    replicas: Rc<RefCell<Vec<Replica>>>,
    _registry: Rc<RealRegistry>,
}

impl Cluster {
    /// Makes the image, pushes it, pulls it by digest, and puts a generated model into the claim's volume.
    pub(crate) fn new(shape: &str) -> Cluster {
        let (podman, registry) = (Podman::new(), RealRegistry::start());
        let name = format!("{}/caravan/server", registry.host);
        let image = push(&podman.file("image"), &format!("{name}:1"));
        let digest = image.rsplit_once('@').unwrap().1;
        let image = format!("{name}@{digest}");
        podman.run(&["pull", "--quiet", "--tls-verify=false", &image]);
        let stable = Stable::render(&image);
        podman.run(&["volume", "create", stable.model_claim()]);
        let volume = podman.run(&["volume", "inspect", "--format", "{{.Mountpoint}}", stable.model_claim()]);
        fs::copy(model(shape), Path::new(&volume).join("model.gguf")).unwrap();
        Cluster { podman: Rc::new(podman), stable, replicas: Rc::default(), _registry: Rc::new(registry) }
    }

    /// Plays so many replicas, and waits until all are ready. Returns what is another than in the overlay, and the ports.
    pub(crate) fn play_all(&self, replicas: usize, cpus: u64) -> (Vec<String>, Vec<u16>) {
        let wanted: Vec<Replica> =
            (0..replicas).map(|number| Replica { number, port: http::free_port(), cpus }).collect();
        self.replicas.replace(wanted.clone());
        let differences: Vec<Vec<String>> = wanted.iter().map(|replica| self.play(replica.number)).collect();
        for replica in &wanted {
            let what = format!("replica {} is ready: {}", replica.number, self.said(replica.number));
            crate::wait(&what, || http::is_ready(replica.port));
        }
        (differences.into_iter().next().unwrap(), wanted.iter().map(|replica| replica.port).collect())
    }

    /// The same replicas after a change of the ConfigMap, to be played one by one.
    pub(crate) fn changed(&self, variable: &str, threads: usize) -> Cluster {
        Cluster {
            podman: Rc::clone(&self.podman),
            stable: self.stable.with_threads(variable, threads),
            replicas: Rc::clone(&self.replicas),
            _registry: Rc::clone(&self._registry),
        }
    }

    /// Plays one replica, in the place of what it was.
    pub(crate) fn play(&self, number: usize) -> Vec<String> {
        let replica = self.replicas.borrow()[number];
        let (file, differences) = self.stable.write(replica, &self.podman.file(""));
        self.podman.play(&file);
        differences
    }

    /// Ends one replica as the kubelet does: the image's stop signal, and the time of the manifest to drain.
    pub(crate) fn stop(&self, number: usize) {
        self.podman.run(&["pod", "stop", "--time", "90", &manifests::pod(&self.stable, number)]);
    }

    pub(crate) fn is_ready(&self, number: usize) -> bool {
        http::is_ready(self.replicas.borrow()[number].port)
    }

    pub(crate) fn said(&self, number: usize) -> String {
        self.podman.said(&manifests::container(&self.stable, number))
    }

    /// The process of a replica's container, when it runs.
    pub(crate) fn running(&self, number: usize) -> Option<Pid> {
        self.podman.process(&manifests::container(&self.stable, number))
    }

    #[track_caller]
    pub(crate) fn process(&self, number: usize) -> Pid {
        self.running(number).unwrap_or_else(|| panic!("replica {number} does not run: {}", self.said(number)))
    }

    /// The llama-server of a replica.
    #[track_caller]
    pub(crate) fn server(&self, number: usize) -> Pid {
        let mut found = None;
        crate::wait("llama-server runs", || {
            found = self.running(number).and_then(|process| podman::children(process).into_iter().next());
            found.is_some()
        });
        found.unwrap()
    }
}

/// Makes an image of the artefact that `cargo xtask test` has packed, and pushes it; its name with its digest.
fn push(out: &Path, name: &str) -> String {
    let layout = std::env::var("CARAVAN_TEST_LAYOUT")
        .expect("CARAVAN_TEST_LAYOUT names no layout with the portable build: run `cargo xtask test`");
    xtask(&[
        "image",
        "--from",
        &format!("oci:{layout}"),
        "--allow-unsigned",
        "--out",
        out.to_str().unwrap(),
        "--push",
        name,
    ])
}

/// A generated model of the store: `cargo xtask install-optimized` has measured with it.
pub(crate) fn model(shape: &str) -> PathBuf {
    crate::home().join(format!("models/{shape}-q4_k_m.gguf"))
}

/// Runs our program to its end; its last line.
fn xtask(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let done = command.args(arguments).env("CARAVAN_HOME", crate::home()).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().lines().next_back().unwrap_or_default().to_owned()
}
