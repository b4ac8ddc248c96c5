//! Pushing to a registry: what arrives, in which order, through which failures.

use std::fs;

use diagnostic::codes;
use oci::{Credentials, Descriptor, Digest, Document, PushPlan, ReadLayout};

use crate::support::proxy::{Fault, Proxy, rule, status};
use crate::support::registry::RealRegistry;
use crate::support::*;

#[test]
fn what_is_pushed_comes_back_with_equal_digests() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    let plan = PushPlan::new(&artefact.layout, Some("v1")).unwrap();
    let mut heard = Vec::new();
    let target = open(&reference(&registry.host), Credentials::Anonymous, None);
    let pushed = oci::push(&artefact.layout, &plan, &target, &mut |done, total| heard.push((done, total))).unwrap();
    assert_eq!(pushed.root.digest, artefact.index.digest);
    // Config, three layers, the empty configuration, the signature's content.
    assert_eq!(pushed.uploaded, 6);
    assert!(heard.is_sorted());
    assert_eq!(heard.last(), Some(&(plan.bytes(), plan.bytes())));
    for which in ["v1".to_owned(), artefact.index.digest.to_string()] {
        let (status, bytes) = registry.get(&format!("manifests/{which}"));
        assert_eq!((status, Digest::of(&bytes)), (200, artefact.index.digest));
    }
    let cache = cache(dir.path());
    pull(&source(&registry.host), &cache).unwrap();
    assert_complete(&cache, &artefact);
    let found = source(&registry.host).referrers(&artefact.index.digest).unwrap();
    assert_eq!(found, artefact.layout.referrers(&artefact.index.digest).unwrap());
}

#[test]
fn a_second_push_uploads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    let proxy = Proxy::start(&registry.host, vec![]);
    push(&artefact, &proxy.host);
    let puts = proxy.seen("PUT").len();
    let listed = registry.get(&format!("manifests/{}", artefact.index.digest.fallback_tag()));
    assert_eq!(push(&artefact, &proxy.host).uploaded, 0);
    assert!(proxy.seen("POST").len() == 6 && proxy.seen("PUT").len() < 2 * puts);
    assert_eq!(registry.get(&format!("manifests/{}", artefact.index.digest.fallback_tag())), listed);
}

#[test]
fn blobs_come_first_and_the_tag_last() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    let proxy = Proxy::start(&registry.host, vec![]);
    push(&artefact, &proxy.host);
    let order: Vec<&str> = proxy
        .seen("PUT")
        .iter()
        .map(|seen| match &seen.line {
            line if line.contains("/blobs/uploads/") => "blob",
            line if line.ends_with("/manifests/v1") => "tag",
            line if line.contains("/manifests/sha256-") => "referrers",
            _ => "manifest",
        })
        .collect();
    let mut phases = order.clone();
    phases.dedup();
    assert_eq!(phases, ["blob", "manifest", "referrers", "tag"]);
    assert_eq!(order.iter().filter(|what| **what == "tag").count(), 1);
}

#[test]
fn failures_of_the_registry_are_survived() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    let put = |blob: &Descriptor| format!("PUT {}", blob.digest.sha256());
    let proxy = Proxy::start(
        &registry.host,
        vec![
            rule("HEAD", 2, status("503 Service Unavailable")),
            rule("POST /blobs/uploads/", 1, status("429 Too Many Requests\r\nretry-after: 0")),
            rule("POST /blobs/uploads/", 1, Fault::Drop),
            rule(put(&artefact.layers[0]), 1, Fault::Drop),
            rule(put(&artefact.layers[0]), 1, status("500 Internal Server Error")),
            rule(put(&artefact.layers[0]), 1, status("404 Not Found")),
            rule("PUT /manifests/sha256:", 3, status("502 Bad Gateway")),
            rule("PUT /manifests/v1", 1, Fault::Drop),
            rule("PUT /manifests/v1", 1, status("400 Bad Request")),
        ],
    );
    push(&artefact, &proxy.host);
    let cache = cache(dir.path());
    pull(&source(&registry.host), &cache).unwrap();
    assert_complete(&cache, &artefact);
}

#[test]
fn a_push_that_fails_leaves_no_tag_and_is_continued() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    let proxy = Proxy::start(&registry.host, vec![]);
    proxy.add(rule(format!("PUT /v2/{REPOSITORY}/manifests/sha256-"), 99, status("500 Internal Server Error")));
    let error = push_as(&artefact, &reference(&proxy.host), Credentials::Anonymous).unwrap_err();
    assert_eq!(error.code(), codes::REGISTRY_FAILED);
    assert_eq!(registry.get("manifests/v1").0, 404);
    assert_eq!(push(&artefact, &registry.host).uploaded, 0);
    assert_eq!(registry.get("manifests/v1").0, 200);
}

#[test]
fn a_damaged_blob_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    let path = artefact.layout.blob_path(&artefact.layers[0].digest);
    let mut content = fs::read(&path).unwrap();
    content[1_999_999] ^= 1;
    fs::write(&path, &content).unwrap();
    let error = push_as(&artefact, &reference(&registry.host), Credentials::Anonymous).unwrap_err();
    assert_eq!(error.code(), codes::DIGEST_MISMATCH, "{error}");
    assert_eq!(registry.get("manifests/v1").0, 404);
    fs::remove_file(&path).unwrap();
    let error = push_as(&artefact, &reference(&registry.host), Credentials::Anonymous).unwrap_err();
    assert_eq!(error.code(), codes::NOT_FOUND);
}

#[test]
fn referrers_of_several_pushers_are_all_listed() {
    let dir = tempfile::tempdir().unwrap();
    let first = artefact(dir.path());
    let registry = RealRegistry::start();
    push(&first, &registry.host);
    // One after the other: a registry writes no list atomically, so that of two who push at once one may be lost.
    for n in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let own = artefact(dir.path());
        own.layout.add_referrer(&signature(&own.layout, &own.index, &[n])).unwrap();
        push(&own, &registry.host);
    }
    assert_eq!(source(&registry.host).referrers(&first.index.digest).unwrap().len(), 4);
}

#[test]
fn where_the_registry_lists_referrers_itself_no_tag_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json";
    let listed = oci::Index::new(artefact.layout.referrers(&artefact.index.digest).unwrap()).to_json();
    let answer = Fault::Answer(json.to_owned(), String::from_utf8(listed).unwrap());
    let proxy = Proxy::start(&registry.host, vec![rule("/referrers/", 9, answer)]);
    push(&artefact, &proxy.host);
    assert!(proxy.seen("/manifests/sha256-").is_empty());
    assert_eq!(registry.get("manifests/v1").0, 200);
}

#[test]
fn a_plan_says_what_will_be_pushed() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let plan = PushPlan::new(&artefact.layout, None).unwrap();
    let text = plan.to_string();
    let lines = |start: &str| text.lines().filter(|line| line.trim_start().starts_with(start)).count();
    assert!(text.starts_with(&format!("push {}\n", artefact.index.digest)), "{text}");
    assert_eq!([lines("manifest "), lines("blob "), lines("1 refer to")], [4, 6, 1], "{text}");
    assert_eq!(PushPlan::new(&artefact.layout, Some("v9")).unwrap_err().code(), codes::NOT_FOUND);
    let pinned = format!("127.0.0.1:1/{REPOSITORY}@{}", artefact.index.digest).parse().unwrap();
    let error = push_as(&artefact, &pinned, Credentials::Anonymous).unwrap_err();
    assert_eq!(error.code(), codes::REFERENCE_INVALID);
    let (Document::Index(index), _) = artefact.layout.document(&artefact.index).unwrap() else { panic!("no index") };
    assert_eq!(index.manifests.len(), 2);
}
