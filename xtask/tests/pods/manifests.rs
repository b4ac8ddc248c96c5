//! The rendered overlay `stable`, and what of it is another here: one machine instead of a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// The container in the Deployment.
const SERVER: &str = "/spec/template/spec/containers/0";
/// What may be another here: names, so that replicas can be told apart; replicas, sizes and network, because there is one
/// machine.
const ADAPTED: &[&str] = &[
    "/metadata/name",
    "/spec/replicas",
    "/spec/template/spec/hostNetwork",
    "/spec/template/spec/containers/0/args/1",
    "/spec/template/spec/containers/0/args/2",
    "/spec/template/spec/containers/0/env/2",
    "/spec/template/spec/containers/0/ports",
    "/spec/template/spec/containers/0/resources/limits/cpu",
    "/spec/template/spec/containers/0/resources/limits/memory",
    "/spec/template/spec/containers/0/resources/requests/cpu",
    "/spec/template/spec/containers/0/resources/requests/memory",
];

/// What one replica gets.
#[derive(Clone, Copy)]
pub(crate) struct Replica {
    pub(crate) number: usize,
    pub(crate) port: u16,
    /// The limit of CPUs, and the request.
    pub(crate) cpus: u64,
}

/// The Deployment and its ConfigMap, as `cargo xtask k8s render` gives them.
#[derive(Clone)]
pub(crate) struct Stable {
    deployment: Value,
    config_map: Value,
    /// Kinds that podman does not know.
    left_out: Vec<String>,
}

impl Stable {
    /// Renders the overlay with an image, by digest.
    pub(crate) fn render(image: &str) -> Stable {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let done = command.args(["k8s", "render", "stable", "--image", image]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let text = String::from_utf8(done.stdout).unwrap();
        let mut objects: Vec<Value> = yaml(&text);
        let mut take = |kind: &str| {
            let at = objects.iter().position(|object| object["kind"] == kind).expect("the overlay has one");
            objects.remove(at)
        };
        let (deployment, config_map) = (take("Deployment"), take("ConfigMap"));
        assert_eq!(deployment.pointer(&format!("{SERVER}/image")).unwrap(), image);
        let left_out = objects.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect();
        Stable { deployment, config_map, left_out }
    }

    /// The claim that the model lies in.
    pub(crate) fn model_claim(&self) -> &str {
        let volumes = self.deployment.pointer("/spec/template/spec/volumes").unwrap().as_array().unwrap();
        let claim = |volume: &Value| Some(volume.pointer("/persistentVolumeClaim/claimName")?.as_str()?.to_owned());
        let found = volumes.iter().position(|volume| claim(volume).is_some()).expect("the model's volume");
        volumes[found]["persistentVolumeClaim"]["claimName"].as_str().unwrap()
    }

    /// As it is after a change of the ConfigMap: the generator gives it another name, and with it a new Deployment.
    pub(crate) fn with_threads(&self, variable: &str, threads: usize) -> Stable {
        let mut changed = self.clone();
        assert!(changed.config_map["data"][variable].is_string(), "{variable} is one of the ConfigMap's");
        changed.config_map["data"][variable] = threads.to_string().into();
        let name = self.config_map["metadata"]["name"].as_str().unwrap();
        let other = format!("{name}-{threads}");
        changed.config_map["metadata"]["name"] = other.clone().into();
        let volumes = changed.deployment.pointer_mut("/spec/template/spec/volumes").unwrap().as_array_mut().unwrap();
        let volume = volumes.iter_mut().find(|volume| volume["configMap"]["name"] == name).unwrap();
        volume["configMap"]["name"] = other.into();
        changed
    }

    /// Writes what podman plays for one replica; returns what is another than in the overlay.
    pub(crate) fn write(&self, replica: Replica, dir: &Path) -> (PathBuf, Vec<String>) {
        let mut deployment = self.deployment.clone();
        let name = format!("{}-{}", text(&deployment["metadata"]["name"]), replica.number);
        deployment["metadata"]["name"] = name.clone().into();
        deployment["spec"]["replicas"] = 1.into();
        // Podman has no network of its own in here: one port for each replica, and no port mapping.
        deployment["spec"]["template"]["spec"]["hostNetwork"] = true.into();
        let server = deployment.pointer_mut(SERVER).unwrap();
        server.as_object_mut().unwrap().remove("ports");
        let args = server["args"].as_array_mut().unwrap();
        let set = |args: &mut Vec<Value>, flag: &str, value: &str| {
            let at = args.iter().position(|arg| text(arg).starts_with(&format!("{flag}="))).expect("the flag is given");
            args[at] = format!("{flag}={value}").into();
        };
        set(args, "--host", "127.0.0.1");
        set(args, "--port", &replica.port.to_string());
        // The image's own variable lets it listen everywhere.
        server["env"].as_array_mut().unwrap().push(json!({"name": "LLAMA_ARG_HOST", "value": "127.0.0.1"}));
        for bound in ["requests", "limits"] {
            server["resources"][bound]["cpu"] = replica.cpus.to_string().into();
            server["resources"][bound]["memory"] = "3Gi".into();
        }
        let mut found = Vec::new();
        differences("", &self.deployment, &deployment, &mut found);
        for (path, _) in &found {
            assert!(ADAPTED.contains(&path.as_str()), "`{path}` must be as in the overlay");
        }
        let file = dir.join(format!("{name}.yaml"));
        // JSON is YAML too.
        fs::write(&file, format!("{}\n---\n{}\n", self.config_map, deployment)).unwrap();
        let mut lines: Vec<String> = found.into_iter().map(|(path, change)| format!("{path}: {change}")).collect();
        lines.push(format!("not played: {}", self.left_out.join(", ")));
        (file, lines)
    }
}

/// What podman calls the pod of a replica.
pub(crate) fn pod(stable: &Stable, number: usize) -> String {
    format!("{}-{number}-pod-0", text(&stable.deployment["metadata"]["name"]))
}

/// What it calls the container in there.
pub(crate) fn container(stable: &Stable, number: usize) -> String {
    format!("{}-server", pod(stable, number))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn yaml(text: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    yaml_serde::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// Where two values differ, by JSON pointer, and how.
fn differences(path: &str, old: &Value, new: &Value, found: &mut Vec<(String, String)>) {
    let gone = Value::Null;
    match (old, new) {
        _ if old == new => {}
        (Value::Object(one), Value::Object(other)) => {
            let more = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(more) {
                let (old, new) = (one.get(key).unwrap_or(&gone), other.get(key).unwrap_or(&gone));
                differences(&format!("{path}/{key}"), old, new, found);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for at in 0..one.len().max(other.len()) {
                let (old, new) = (one.get(at).unwrap_or(&gone), other.get(at).unwrap_or(&gone));
                differences(&format!("{path}/{at}"), old, new, found);
            }
        }
        _ => found.push((path.to_owned(), format!("{old} -> {new}"))),
    }
}
