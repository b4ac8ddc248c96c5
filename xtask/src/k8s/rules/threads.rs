//! Thread counts: never above the whole CPUs of the limit, and where the server finds them.

use std::collections::BTreeMap;

use host::job::{self, JobThreads};
use serde_json::Value;

use super::is_server;
use crate::k8s::finding::Finding;
use crate::k8s::object::{Container, Object, Pod, entries, items, text};
use crate::k8s::quantity;

/// Names the directory whose files stand in for variables, as `caravan serve` reads it.
const CONFIG_DIR: &str = "CARAVAN_CONFIG_DIR";
/// llama-server's own.
const THREADS: &str = "LLAMA_ARG_THREADS";
/// Flags of `caravan serve` and llama-server that fix a thread count.
const FLAGS: [&str; 4] = ["--threads", "-t", "--threads-batch", "-tb"];

pub(super) fn check(objects: &[Object]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pod in objects.iter().filter_map(Object::pod) {
        for container in pod.containers() {
            let sources = sources(objects, &pod, &container);
            findings.extend(above_the_limit(&pod, &container, &sources));
            if is_server(&container) {
                findings.extend(job(&pod, &container, &sources));
                findings.extend(directory(&pod, &container));
            }
        }
    }
    findings.extend(unused(objects));
    findings
}

/// A variable, and where it is said.
struct Said<'a> {
    object: &'a Object,
    path: String,
    name: &'a str,
    value: String,
}

/// Every variable that a container gets: written out, from ConfigMaps, and from their directory, which wins.
fn sources<'a>(objects: &'a [Object], pod: &Pod<'a>, container: &Container<'a>) -> Vec<Said<'a>> {
    let mut all = Vec::new();
    let mut of_map = |name: &str| {
        let map = objects.iter().find(|object| object.kind() == "ConfigMap" && object.name() == name);
        let Some(object) = map else { return };
        all.extend(entries(object.value(), "/data").map(|(name, value)| Said {
            object,
            path: format!("data.{name}"),
            name,
            value: written(value),
        }));
    };
    items(container.value, "/envFrom").for_each(|from| of_map(text(from, "/configMapRef/name")));
    let names: Vec<_> = items(container.value, "/env")
        .filter(|variable| variable.get("value").is_some())
        .map(|variable| Said {
            object: pod.object,
            path: format!("{}.env[{}]", container.path, text(variable, "/name")),
            name: text(variable, "/name"),
            value: variable.get("value").map(written).unwrap_or_default(),
        })
        .collect();
    mounted_maps(pod, container).for_each(|(_, map)| of_map(map));
    // Before the directory's files, which win.
    all.splice(0..0, names);
    all
}

/// The mounts of ConfigMaps: the mount, and the name of the map.
fn mounted_maps<'a>(pod: &Pod<'a>, container: &Container<'a>) -> impl Iterator<Item = (&'a Value, &'a str)> {
    let spec = pod.spec;
    items(container.value, "/volumeMounts").filter_map(move |mount| {
        let name = text(mount, "/name");
        let volume = items(spec, "/volumes").find(|volume| text(volume, "/name") == name)?;
        Some((mount, volume.pointer("/configMap/name")?.as_str()?))
    })
}

/// A scalar as a process would see it.
fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn above_the_limit(pod: &Pod<'_>, container: &Container<'_>, sources: &[Said<'_>]) -> Vec<Finding> {
    let counts = sources.iter().filter(|said| said.name == THREADS || job::job_of(said.name).is_some());
    let mut counts: Vec<_> =
        counts.map(|said| (said.object, said.path.clone(), said.name, said.value.clone())).collect();
    let words: Vec<&str> =
        ["/command", "/args"].iter().flat_map(|list| items(container.value, list)).filter_map(Value::as_str).collect();
    for (number, word) in words.iter().enumerate() {
        let (flag, value) = word.split_once('=').unwrap_or((word, words.get(number + 1).unwrap_or(&"")));
        if FLAGS.contains(&flag) {
            counts.push((pod.object, format!("{}.args", container.path), flag, value.to_owned()));
        }
    }
    let Some(limit) = container.at("/resources/limits/cpu").and_then(quantity::millicpus) else { return Vec::new() };
    let cpus = usize::try_from(limit / 1000).unwrap_or(usize::MAX);
    let check = |(object, path, name, value): (&Object, String, &str, String)| match value.parse::<usize>() {
        Ok(1..) if value.parse::<usize>().is_ok_and(|threads| threads <= cpus) => None,
        Ok(threads @ 1..) => Some(
            Finding::error(
                "threads-above-limit",
                object,
                path,
                format!("`{name}` is {threads}, and `{}` may use {cpus} whole CPUs", container.path),
            )
            .hint("threads that wait for a CPU hold up all others: lower it, or raise the CPU limit"),
        ),
        _ => Some(Finding::error(
            "threads-invalid",
            object,
            path,
            format!("`{name}` must be a thread count of at least 1, not `{value}`"),
        )),
    };
    counts.into_iter().filter_map(check).collect()
}

/// The job must have a thread count, or the server refuses to start.
fn job(pod: &Pod<'_>, container: &Container<'_>, sources: &[Said<'_>]) -> Option<Finding> {
    let variables: BTreeMap<String, String> =
        sources.iter().map(|said| (said.name.to_owned(), said.value.clone())).collect();
    let error = JobThreads::from_env(&variables).err()?;
    let finding =
        Finding::error("job-without-threads", pod.object, format!("{}.env", container.path), error.to_string());
    Some(error.hints().first().map_or(finding.clone(), |hint| finding.hint(hint)))
}

/// The directory must be where a ConfigMap is mounted as a whole: a `subPath` never changes while the pod runs.
fn directory(pod: &Pod<'_>, container: &Container<'_>) -> Option<Finding> {
    let dir = container.variable(CONFIG_DIR)?;
    let path = format!("{}.env[{CONFIG_DIR}]", container.path);
    let mount = mounted_maps(pod, container).find(|(mount, _)| text(mount, "/mountPath") == dir);
    match mount {
        None => {
            Some(Finding::error("config-not-mounted", pod.object, path, format!("no ConfigMap is mounted at `{dir}`")))
        }
        Some((mount, _)) if mount.get("subPath").is_some() => {
            let why = format!("the ConfigMap at `{dir}` is mounted with `subPath`, and would never change");
            Some(Finding::error("config-not-live", pod.object, path, why).hint("mount the whole ConfigMap"))
        }
        Some(_) => None,
    }
}

/// Thread counts in a ConfigMap that no pod mounts are a mistake in a name.
fn unused(objects: &[Object]) -> Vec<Finding> {
    let pods: Vec<_> = objects.iter().filter_map(Object::pod).collect();
    let is_used = |map: &Object| {
        pods.iter().any(|pod| {
            pod.containers()
                .any(|container| sources(objects, pod, &container).iter().any(|said| std::ptr::eq(said.object, map)))
        })
    };
    let maps = objects.iter().filter(|object| object.kind() == "ConfigMap");
    maps.filter(|map| entries(map.value(), "/data").any(|(name, _)| job::job_of(name).is_some()))
        .filter(|map| !is_used(map))
        .map(|map| Finding::error("config-unused", map, "data", "no container gets these thread counts"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::k8s::rules::tests::{found, lines, of_kind, remove, research, set, stable};

    const SERVER: &str = "/spec/template/spec/containers/0";

    /// The mount of the ConfigMap.
    fn mount(object: &mut Value) -> &mut Value {
        let mounts = object.pointer_mut(&format!("{SERVER}/volumeMounts")).unwrap().as_array_mut().unwrap();
        mounts.iter_mut().find(|mount| mount["name"] == "threads").unwrap()
    }

    #[test]
    fn no_job_may_have_more_threads_than_whole_cpus() {
        insta::assert_snapshot!(found("ConfigMap", |map| set(map, "/data/MARKETING_THREADS", json!("9"))), @"[threads-above-limit] ConfigMap/caravan-stable-mfmg8gg9f4 data.MARKETING_THREADS: `MARKETING_THREADS` is 9, and `spec.template.spec.containers[server]` may use 8 whole CPUs");
        insta::assert_snapshot!(found("Deployment", |it| set(it, &format!("{SERVER}/resources/limits/cpu"), json!("7900m"))), @r"
[threads-above-limit] ConfigMap/caravan-stable-mfmg8gg9f4 data.CODING_THREADS: `CODING_THREADS` is 8, and `spec.template.spec.containers[server]` may use 7 whole CPUs
[threads-above-limit] ConfigMap/caravan-stable-mfmg8gg9f4 data.RESEARCH_THREADS: `RESEARCH_THREADS` is 8, and `spec.template.spec.containers[server]` may use 7 whole CPUs
");
        insta::assert_snapshot!(found("Deployment", |it| {
            it.pointer_mut(&format!("{SERVER}/args")).unwrap().as_array_mut().unwrap().extend([json!("-tb"), json!("10"), json!("--threads=0")]);
        }), @r"
[threads-above-limit] Deployment/caravan-stable spec.template.spec.containers[server].args: `-tb` is 10, and `spec.template.spec.containers[server]` may use 8 whole CPUs
[threads-invalid] Deployment/caravan-stable spec.template.spec.containers[server].args: `--threads` must be a thread count of at least 1, not `0`
");
        insta::assert_snapshot!(found("Deployment", |it| {
            it.pointer_mut(&format!("{SERVER}/env")).unwrap().as_array_mut().unwrap().push(json!({"name": "LLAMA_ARG_THREADS", "value": "12"}));
        }), @"[threads-above-limit] Deployment/caravan-stable spec.template.spec.containers[server].env[LLAMA_ARG_THREADS]: `LLAMA_ARG_THREADS` is 12, and `spec.template.spec.containers[server]` may use 8 whole CPUs");
    }

    #[test]
    fn a_thread_count_is_a_number_of_at_least_one() {
        for value in ["0", "-1", "four", ""] {
            let found = found("ConfigMap", |map| set(map, "/data/MARKETING_THREADS", json!(value)));
            assert!(found.starts_with("[threads-invalid] ConfigMap/caravan-stable-"), "{value}: {found}");
        }
    }

    #[test]
    fn the_limits_of_research_are_those_of_research() {
        let mut objects = research();
        set(of_kind(&mut objects, "ConfigMap"), "/data/RESEARCH_THREADS", json!("17"));
        insta::assert_snapshot!(lines(&objects), @"[threads-above-limit] ConfigMap/caravan-research-k6h78m8ft7 data.RESEARCH_THREADS: `RESEARCH_THREADS` is 17, and `spec.template.spec.containers[server]` may use 16 whole CPUs");
    }

    #[test]
    fn the_job_needs_a_thread_count_that_reaches_the_server() {
        insta::assert_snapshot!(found("ConfigMap", |map| remove(map, "/data/CODING_THREADS")), @"[job-without-threads] Deployment/caravan-stable spec.template.spec.containers[server].env: `CARAVAN_JOB=coding` reads `CODING_THREADS`, which is not set");
        insta::assert_snapshot!(found("Deployment", |it| mount(it)["mountPath"] = json!("/etc/other")), @"[config-not-mounted] Deployment/caravan-stable spec.template.spec.containers[server].env[CARAVAN_CONFIG_DIR]: no ConfigMap is mounted at `/etc/caravan`");
        insta::assert_snapshot!(found("Deployment", |it| mount(it)["subPath"] = json!("CODING_THREADS")), @"[config-not-live] Deployment/caravan-stable spec.template.spec.containers[server].env[CARAVAN_CONFIG_DIR]: the ConfigMap at `/etc/caravan` is mounted with `subPath`, and would never change");
        let mut objects = stable();
        set(of_kind(&mut objects, "ConfigMap"), "/metadata/name", json!("misspelt"));
        insta::assert_snapshot!(lines(&objects), @r"
[config-missing] Deployment/caravan-stable spec.template.spec.volumes[threads].configMap: there is no ConfigMap `caravan-stable-mfmg8gg9f4` here
[config-unused] ConfigMap/misspelt data: no container gets these thread counts
");
    }
}
