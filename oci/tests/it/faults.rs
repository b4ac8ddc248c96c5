//! Pulling from a registry through a connection that fails in every way.

use std::fs;
use std::thread;
use std::time::Duration;

use diagnostic::codes;
use insta::assert_snapshot;
use oci::{Access, Credentials, Descriptor, Index, Limits, Manifest, Source};
use tempfile::TempDir;

use crate::support::proxy::{Fault, Proxy, rule, status};
use crate::support::registry::RealRegistry;
use crate::support::*;

/// An artefact in a registry behind a proxy.
struct Case {
    dir: TempDir,
    artefact: Artefact,
    registry: RealRegistry,
    proxy: Proxy,
}

fn case() -> Case {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    push(&artefact, &registry.host);
    let proxy = Proxy::start(&registry.host, vec![]);
    Case { dir, artefact, registry, proxy }
}

fn path(blob: &Descriptor) -> String {
    format!("GET /v2/{REPOSITORY}/blobs/{}", blob.digest)
}

/// Takes out of a message what differs from run to run.
fn plain(error: &diagnostic::Error, case: &Case) -> String {
    let mut text = error.to_string().replace(&case.proxy.host, "HOST");
    for (n, blob) in case.artefact.blobs().iter().enumerate() {
        text = text.replace(&blob.digest.to_string(), &format!("sha256:{n}"));
    }
    text.replace(case.dir.path().to_str().unwrap(), "DIR")
}

#[test]
fn a_good_connection_brings_each_byte_once() {
    let case = case();
    let cache = cache(case.dir.path());
    let mut heard = Vec::new();
    let pulled =
        oci::pull(&source(&case.proxy.host), &amd64(), &cache, &mut |done, total| heard.push((done, total))).unwrap();
    assert_complete(&cache, &case.artefact);
    assert_eq!(pulled.root.digest, case.artefact.index.digest);
    assert_eq!(pulled.descriptor.digest, case.artefact.manifest.digest);
    assert_eq!(pulled.manifest.layers, case.artefact.layers);
    assert_eq!(pulled.pinned().to_string(), format!("{}/{REPOSITORY}@{}", case.proxy.host, case.artefact.index.digest));
    assert!(heard.is_sorted());
    assert_eq!(heard.last(), Some(&(case.artefact.bytes(), case.artefact.bytes())));
    assert_eq!(case.proxy.served("/blobs/") as u64, case.artefact.bytes());
    // What is there is not asked for again, and a pinned reference finds the same.
    let again = Source::open(&pulled.pinned(), &access(Credentials::Anonymous)).unwrap();
    assert_eq!(pull(&again, &cache).unwrap().manifest, pulled.manifest);
    assert_eq!(case.proxy.served("/blobs/") as u64, case.artefact.bytes());
}

#[test]
fn a_cut_blob_goes_on_where_it_was_cut() {
    let case = case();
    for percent in [10, 50, 90] {
        let proxy = Proxy::start(&case.registry.host, vec![]);
        for blob in &case.artefact.layers {
            let at = usize::try_from(blob.size).unwrap() * percent / 100;
            proxy.add(rule(path(blob), 1, Fault::Cut(at)));
        }
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        pull(&source(&proxy.host), &cache).unwrap();
        assert_complete(&cache, &case.artefact);
        let served = proxy.served("/blobs/") as u64;
        assert!(served * 10 <= case.artefact.bytes() * 11, "{served} of {}", case.artefact.bytes());
        for blob in &case.artefact.layers {
            assert_eq!(proxy.seen(&path(blob)).len(), 2);
            assert!(proxy.seen(&path(blob))[1].header("range").is_some());
        }
    }
}

#[test]
fn many_cuts_are_survived_while_there_is_progress() {
    let case = case();
    // Far more cuts than tries are allowed, each after a piece.
    case.proxy.add(rule("/blobs/", 30, Fault::Cut(150_000)));
    let cache = cache(case.dir.path());
    pull(&source(&case.proxy.host), &cache).unwrap();
    assert_complete(&cache, &case.artefact);
    let served = case.proxy.served("/blobs/") as u64;
    assert!(served * 10 <= case.artefact.bytes() * 11, "{served}");
}

#[test]
fn without_progress_tries_are_used_up_and_a_later_run_goes_on() {
    let case = case();
    let layer = &case.artefact.layers[0];
    case.proxy.add(rule(path(layer), 1, Fault::Cut(1_000_000)));
    case.proxy.add(rule(path(layer), 4, Fault::Cut(0)));
    let cache = cache(case.dir.path());
    let error = pull(&source(&case.proxy.host), &cache).unwrap_err();
    assert_eq!(error.code(), codes::REGISTRY_FAILED);
    assert!(error.to_string().contains("(4 tries)"), "{error}");
    assert!(!cache.has(layer));
    pull(&source(&case.proxy.host), &cache).unwrap();
    assert_complete(&cache, &case.artefact);
    let ranges = case.proxy.seen(&path(layer));
    let begun = ranges.last().unwrap().header("range").unwrap().to_owned();
    let begun: usize = begun.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
    assert!(begun > 500_000, "{begun}");
}

#[test]
fn a_registry_without_ranges_starts_again() {
    let case = case();
    let layer = &case.artefact.layers[0];
    case.proxy.add(rule(path(layer), 1, Fault::Cut(1_000_000)));
    case.proxy.add(rule(path(layer), 9, Fault::IgnoreRange));
    let cache = cache(case.dir.path());
    pull(&source(&case.proxy.host), &cache).unwrap();
    assert_complete(&cache, &case.artefact);
    assert_eq!(case.proxy.seen(&path(layer)).len(), 2);
}

#[test]
fn a_registry_without_ranges_that_always_cuts_is_given_up() {
    let case = case();
    let layer = &case.artefact.layers[0];
    case.proxy.add(rule(path(layer), 100, Fault::CutIgnoreRange(1_000_000)));
    let cache = cache(case.dir.path());
    let error = pull(&source(&case.proxy.host), &cache).unwrap_err();
    assert_eq!(error.code(), codes::REGISTRY_FAILED);
    assert!(case.proxy.seen(&path(layer)).len() <= 5);
}

#[test]
fn a_range_that_was_not_asked_for_is_not_taken() {
    let case = case();
    let layer = &case.artefact.layers[2];
    case.proxy.add(rule(path(layer), 1, Fault::Cut(100_000)));
    let head = format!("HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 7-9/{}", layer.size);
    case.proxy.add(rule(path(layer), 1, Fault::Answer(head, "abc".to_owned())));
    case.proxy.add(rule(path(layer), 1, Fault::Cut(200_000)));
    case.proxy.add(rule(path(layer), 1, status("416 Range Not Satisfiable")));
    let cache = cache(case.dir.path());
    pull(&source(&case.proxy.host), &cache).unwrap();
    assert_complete(&cache, &case.artefact);
}

#[test]
fn a_busy_registry_is_asked_again_after_the_pause_that_it_wants() {
    let case = case();
    for needle in ["/manifests/v1".to_owned(), path(&case.artefact.layers[1])] {
        case.proxy.add(rule(needle, 1, status("429 Too Many Requests\r\nretry-after: 0")));
    }
    // Without `Retry-After` we would wait for a day.
    let day = Duration::from_secs(86_400);
    let limits = Limits { backoff: day, longest_pause: day, ..LIMITS };
    let patient = Access { limits, ..access(Credentials::Anonymous) };
    let source = Source::open(&reference(&case.proxy.host), &patient).unwrap();
    let cache = cache(case.dir.path());
    pull(&source, &cache).unwrap();
    assert_complete(&cache, &case.artefact);
    assert_eq!(case.proxy.seen("/manifests/v1").len(), 2);
    assert_eq!(case.proxy.seen(&path(&case.artefact.layers[1])).len(), 2);
}

#[test]
fn an_absurd_retry_after_is_cut_to_our_longest_pause() {
    let case = case();
    case.proxy.add(rule("/manifests/v1", 1, status("429 Too Many Requests\r\nretry-after: 86400")));
    pull(&source(&case.proxy.host), &cache(case.dir.path())).unwrap();
}

#[test]
fn three_failures_of_the_server_are_survived_and_four_are_not() {
    let case = case();
    for (needle, head) in [
        ("/manifests/v1".to_owned(), "500 Internal Server Error"),
        (path(&case.artefact.layers[0]), "503 Service Unavailable"),
        (path(&case.artefact.layers[1]), "408 Request Timeout"),
    ] {
        case.proxy.add(rule(needle, 3, status(head)));
    }
    let cache = cache(case.dir.path());
    pull(&source(&case.proxy.host), &cache).unwrap();
    assert_complete(&cache, &case.artefact);
    case.proxy.add(rule("/manifests/v1", 4, status("500 Internal Server Error")));
    let error = pull(&source(&case.proxy.host), &cache).unwrap_err();
    assert_eq!(error.code(), codes::REGISTRY_FAILED);
    assert_snapshot!(plain(&error, &case), @"cannot read `HOST/owner/artefact:v1`: registry `HOST` answers HTTP 500 (4 tries)");
}

#[test]
fn a_flipped_bit_leaves_nothing() {
    let case = case();
    let layer = &case.artefact.layers[1];
    case.proxy.add(rule(path(layer), 1, Fault::Flip(1_234_567)));
    let cache = cache(case.dir.path());
    let error = pull(&source(&case.proxy.host), &cache).unwrap_err();
    assert_eq!(error.code(), codes::DIGEST_MISMATCH);
    assert!(error.to_string().contains(&layer.digest.to_string()), "{error}");
    let hex = layer.digest.sha256().to_string();
    assert!(files(&cache).iter().all(|name| !name.starts_with(&hex)), "{:?}", files(&cache));
    assert_honest(&cache);
    pull(&source(&case.proxy.host), &cache).unwrap();
    assert_complete(&cache, &case.artefact);
}

#[test]
fn a_flipped_bit_in_what_was_begun_costs_a_new_start() {
    let case = case();
    let layer = &case.artefact.layers[1];
    let cache = cache(case.dir.path());
    let mut begun = fs::read(case.artefact.layout.blob_path(&layer.digest)).unwrap();
    begun.truncate(1_000_000);
    begun[500_000] ^= 1;
    fs::write(cache.path(&layer.digest).with_extension("part"), &begun).unwrap();
    pull(&source(&case.proxy.host), &cache).unwrap();
    assert_complete(&cache, &case.artefact);
    assert_eq!(case.proxy.seen(&path(layer)).len(), 2);
    // A beginning that is longer than the whole, and a blob of another size, are no better.
    fs::remove_file(cache.path(&layer.digest)).unwrap();
    fs::write(cache.path(&layer.digest).with_extension("part"), vec![0; 3_000_000]).unwrap();
    fs::write(cache.path(&case.artefact.config.digest), "{").unwrap();
    pull(&source(&case.proxy.host), &cache).unwrap();
    assert_complete(&cache, &case.artefact);
}

#[test]
fn a_finished_beginning_needs_no_registry() {
    let case = case();
    let cache = cache(case.dir.path());
    for blob in case.artefact.blobs() {
        let from = case.artefact.layout.blob_path(&blob.digest);
        fs::copy(from, cache.path(&blob.digest).with_extension("part")).unwrap();
    }
    pull(&source(&case.proxy.host), &cache).unwrap();
    assert_complete(&cache, &case.artefact);
    assert!(case.proxy.seen("/blobs/").is_empty());
}

#[test]
fn a_flipped_bit_in_a_manifest_is_found() {
    let case = case();
    let cache = cache(case.dir.path());
    // By tag the registry's own header tells, by digest the name does.
    for needle in ["/manifests/v1".to_owned(), format!("/manifests/{}", case.artefact.manifest.digest)] {
        case.proxy.add(rule(needle, 1, Fault::Flip(100)));
        let error = pull(&source(&case.proxy.host), &cache).unwrap_err();
        assert_eq!(error.code(), codes::DIGEST_MISMATCH);
    }
    let wrong = format!("{}@{}", reference(&case.proxy.host), case.artefact.manifest.digest);
    let other = format!("{}/{REPOSITORY}@sha256:{}", case.proxy.host, "0".repeat(64));
    let named = Source::open(&wrong.parse().unwrap(), &access(Credentials::Anonymous)).unwrap();
    assert_eq!(named.resolve(&amd64()).unwrap().root.digest, case.artefact.manifest.digest);
    let none = Source::open(&other.parse().unwrap(), &access(Credentials::Anonymous)).unwrap();
    assert_eq!(none.resolve(&amd64()).unwrap_err().code(), codes::NOT_FOUND);
    assert!(files(&cache).is_empty());
}

#[test]
fn a_wrong_size_in_the_manifest_is_named() {
    let case = case();
    let cache = cache(case.dir.path());
    for wrong in [-1, 1] {
        let mut layer = case.artefact.layers[0].clone();
        layer.size = layer.size.checked_add_signed(wrong).unwrap();
        let manifest = Manifest::new(case.artefact.config.clone(), vec![layer]);
        case.registry.put_manifest("v1", oci::IMAGE_MANIFEST, &manifest.to_json());
        let error = pull(&source(&case.proxy.host), &cache).unwrap_err();
        assert_eq!(error.code(), codes::DIGEST_MISMATCH);
        if wrong == 1 {
            assert_snapshot!(plain(&error, &case), @"blob `sha256:1` of `HOST/owner/artefact` has 2000000 bytes, but 2000001 are expected");
        }
        assert!(
            !files(&cache).iter().any(|name| name.starts_with(&case.artefact.layers[0].digest.sha256().to_string()))
        );
        assert_honest(&cache);
    }
}

#[test]
fn a_blob_that_goes_on_for_too_long_is_cut_off() {
    let case = case();
    let layer = &case.artefact.layers[2];
    case.proxy.add(rule(path(layer), 1, Fault::Append(vec![0; 5_000_000])));
    let cache = cache(case.dir.path());
    let error = pull(&source(&case.proxy.host), &cache).unwrap_err();
    assert_eq!(error.code(), codes::DIGEST_MISMATCH);
    assert_snapshot!(plain(&error, &case), @"blob `sha256:3` has more than the 700001 bytes that are expected");
    assert_honest(&cache);
    // The same for what is read into memory.
    let endless = " ".repeat(5 << 20);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json";
    case.proxy.add(rule("/manifests/v1", 1, Fault::Answer(head.to_owned(), endless)));
    assert_eq!(pull(&source(&case.proxy.host), &cache).unwrap_err().code(), codes::MANIFEST_INVALID);
}

#[test]
fn an_index_without_our_platform_says_what_it_has() {
    let case = case();
    let cache = cache(case.dir.path());
    let arm = oci::Platform::new("linux", "arm64");
    let error = oci::pull(&source(&case.proxy.host), &arm, &cache, &mut |_, _| {}).unwrap_err();
    assert_eq!(error.code(), codes::NO_PLATFORM);
    assert_snapshot!(plain(&error, &case), @"`HOST/owner/artefact:v1` has no entry for `linux/arm64`; it has `linux/amd64`");
    // The configuration tells where no index does.
    let alone = format!("{}/{REPOSITORY}@{}", case.proxy.host, case.artefact.manifest.digest);
    let alone = Source::open(&alone.parse().unwrap(), &access(Credentials::Anonymous)).unwrap();
    assert_eq!(alone.resolve(&arm).unwrap_err().code(), codes::NO_PLATFORM);
    alone.resolve(&amd64()).unwrap();
    let empty = Index::new(vec![]);
    case.registry.put_manifest("v1", oci::IMAGE_INDEX, &empty.to_json());
    assert_eq!(pull(&source(&case.proxy.host), &cache).unwrap_err().code(), codes::NO_PLATFORM);
}

#[test]
fn what_does_not_exist_is_not_asked_for_again() {
    let case = case();
    let cache = cache(case.dir.path());
    let missing = format!("{}/{REPOSITORY}:v9", case.proxy.host);
    let missing = Source::open(&missing.parse().unwrap(), &access(Credentials::Anonymous)).unwrap();
    let error = pull(&missing, &cache).unwrap_err();
    assert_eq!(error.code(), codes::NOT_FOUND);
    assert_snapshot!(plain(&error, &case), @"`HOST/owner/artefact:v9` does not exist: manifest unknown");
    assert_eq!(case.proxy.seen("/manifests/v9").len(), 1);
    case.proxy.add(rule(path(&case.artefact.layers[0]), 1, status("404 Not Found")));
    assert_eq!(pull(&source(&case.proxy.host), &cache).unwrap_err().code(), codes::NOT_FOUND);
}

#[test]
fn a_registry_that_is_not_there_is_tried_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = pull(&source("127.0.0.1:1"), &cache(dir.path())).unwrap_err();
    assert_eq!(error.code(), codes::REGISTRY_FAILED);
    let text = error.to_string().to_lowercase();
    assert!(text.contains("connection refused") && text.contains("(4 tries)"), "{error}");
}

#[test]
fn a_registry_that_falls_silent_is_asked_again() {
    let case = case();
    case.proxy.add(rule(path(&case.artefact.layers[0]), 1, Fault::Silence));
    let limits = Limits { read: Duration::from_secs(5), ..LIMITS };
    let source =
        Source::open(&reference(&case.proxy.host), &Access { limits, ..access(Credentials::Anonymous) }).unwrap();
    let cache = cache(case.dir.path());
    pull(&source, &cache).unwrap();
    assert_complete(&cache, &case.artefact);
    assert_eq!(case.proxy.seen(&path(&case.artefact.layers[0])).len(), 2);
}

#[test]
fn two_pulls_into_one_cache_share_the_work() {
    let case = case();
    case.proxy.add(rule("/blobs/", 100, Fault::Slow));
    let cache = cache(case.dir.path());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| pull(&source(&case.proxy.host), &cache).unwrap());
        }
    });
    assert_complete(&cache, &case.artefact);
    assert_eq!(case.proxy.served("/blobs/") as u64, case.artefact.bytes());
}

#[test]
fn more_than_is_allowed_or_fits_is_refused_before_anything_is_asked_for() {
    let case = case();
    let cache = cache(case.dir.path());
    let limits = Limits { bytes: 3_000_000, ..LIMITS };
    let small =
        Source::open(&reference(&case.proxy.host), &Access { limits, ..access(Credentials::Anonymous) }).unwrap();
    assert_eq!(pull(&small, &cache).unwrap_err().code(), codes::MANIFEST_INVALID);
    let limits = Limits { bytes: u64::MAX, ..LIMITS };
    let large =
        Source::open(&reference(&case.proxy.host), &Access { limits, ..access(Credentials::Anonymous) }).unwrap();
    // On whatever disk the tests run, 2^62 bytes do not fit.
    let huge = Descriptor { size: 1 << 62, ..case.artefact.layers[0].clone() };
    let error = oci::fetch(&large, std::slice::from_ref(&huge), &cache, &mut |_, _| {}).unwrap_err();
    assert_eq!(error.code(), codes::DISK_FULL);
    let twice = [huge, case.artefact.layers[0].clone()];
    assert_eq!(oci::fetch(&large, &twice, &cache, &mut |_, _| {}).unwrap_err().code(), codes::MANIFEST_INVALID);
    assert!(case.proxy.seen("/blobs/").is_empty());
}

#[test]
fn referrers_come_from_the_fallback_tag_or_the_api() {
    let case = case();
    let source = source(&case.proxy.host);
    let found = source.referrers(&case.artefact.index.digest).unwrap();
    assert_eq!(found.iter().map(|one| one.digest).collect::<Vec<_>>(), [case.artefact.signature.digest]);
    assert!(source.referrers(&case.artefact.manifest.digest).unwrap().is_empty());
    let (manifest, _) = source.manifest(&found[0]).unwrap();
    assert_eq!(source.blob(&manifest.layers[0], 100).unwrap(), b"signature");
    assert_eq!(source.blob(&manifest.layers[0], 5).unwrap_err().code(), codes::MANIFEST_INVALID);
    // A registry with the API, in two pages. The types that it tells are not filtered.
    let page = |entry: &Descriptor| String::from_utf8(Index::new(vec![entry.clone()]).to_json()).unwrap();
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json";
    let needle = format!("/referrers/{}", case.artefact.manifest.digest);
    let linked = format!("{json}\r\nlink: </v2/{REPOSITORY}{needle}?last=1>; rel=\"next\"");
    case.proxy.add(rule(format!("{needle}?last=1"), 1, Fault::Answer(json.to_owned(), page(&case.artefact.manifest))));
    case.proxy.add(rule(&needle, 1, Fault::Answer(linked, page(&case.artefact.index))));
    let found = source.referrers(&case.artefact.manifest.digest).unwrap();
    let digests: Vec<_> = found.iter().map(|one| one.digest).collect();
    assert_eq!(digests, [case.artefact.index.digest, case.artefact.manifest.digest]);
}

#[test]
fn referrers_of_the_api_and_of_the_fallback_tag_are_joined() {
    let case = case();
    let subject = case.artefact.index.digest;
    let tagged = case.artefact.signature.clone();
    let listed = Index::new(vec![case.artefact.manifest.clone(), tagged.clone()]);
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json".to_owned();
    for (api, expected) in [
        (listed, vec![case.artefact.manifest.digest, tagged.digest]),
        (Index::new(vec![case.artefact.manifest.clone()]), vec![case.artefact.manifest.digest, tagged.digest]),
        (Index::new(vec![]), vec![tagged.digest]),
    ] {
        let body = String::from_utf8(api.to_json()).unwrap();
        case.proxy.add(rule(format!("/referrers/{subject}"), 1, Fault::Answer(json.clone(), body)));
        let found = source(&case.proxy.host).referrers(&subject).unwrap();
        assert_eq!(found.iter().map(|one| one.digest).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_registry_that_fails_is_not_taken_for_one_without_referrers() {
    let case = case();
    for (head, code) in [
        ("403 Forbidden", codes::REGISTRY_REFUSED),
        ("429 Too Many Requests", codes::REGISTRY_FAILED),
        ("500 Internal Server Error", codes::REGISTRY_FAILED),
    ] {
        for needle in ["/referrers/", "/manifests/sha256-"] {
            let proxy = Proxy::start(&case.registry.host, vec![rule(needle, 9, status(head))]);
            let error = source(&proxy.host).referrers(&case.artefact.index.digest).unwrap_err();
            assert_eq!(error.code(), code, "{head} {needle}");
        }
    }
}
