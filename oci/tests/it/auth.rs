//! Passwords and tokens: who gets them, who must not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use diagnostic::codes;
use insta::assert_snapshot;
use oci::{Access, Credentials, Limits, Mirror, Source};

use crate::support::proxy::{Fault, Gate, Proxy, rule, status};
use crate::support::registry::RealRegistry;
use crate::support::*;

/// A token server; its tokens are `token-1`, `token-2` ...
struct Tokens {
    proxy: Proxy,
    given: Arc<AtomicUsize>,
}

/// `demands_password`: anonymous tokens are not given.
fn token_server(demands_password: bool) -> Tokens {
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let gate: Gate = Box::new(move |_, authorization| {
        // `caravan:s3cret:with:colons`
        let is_known = authorization == Some("Basic Y2FyYXZhbjpzM2NyZXQ6d2l0aDpjb2xvbnM=");
        if authorization.is_some() && !is_known || authorization.is_none() && demands_password {
            let body = r#"{"errors":[{"code":"DENIED","message":"denied: who are you?"}]}"#;
            return Some(("HTTP/1.1 403 Forbidden".to_owned(), body.to_owned()));
        }
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        Some(("HTTP/1.1 200 OK".to_owned(), format!(r#"{{"token":"token-{number}","expires_in":300}}"#)))
    });
    Tokens { proxy: Proxy::start_gated("127.0.0.1:1", vec![], Some(gate)), given }
}

/// A proxy that lets only the bearers of the newest token through, and each token `good_for` requests.
fn guarded(registry: &RealRegistry, tokens: &Tokens, good_for: usize) -> Proxy {
    let realm = format!("http://{}/token", tokens.proxy.host);
    let given = Arc::clone(&tokens.given);
    let used = Mutex::new((0, 0));
    let gate: Gate = Box::new(move |_, authorization| {
        let newest = given.load(Ordering::SeqCst);
        let mut used = used.lock().unwrap();
        if used.0 != newest {
            *used = (newest, 0);
        }
        used.1 += 1;
        let is_good = authorization == Some(format!("Bearer token-{newest}").as_str()) && used.1 <= good_for;
        let head = format!(
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer realm=\"{realm}\",service=\"test\",scope=\"ignored\""
        );
        (!is_good).then(|| (head, String::new()))
    });
    Proxy::start_gated(&registry.host, vec![], Some(gate))
}

fn source_as(host: &str, credentials: Credentials) -> Source {
    Source::open(&reference(host), &access(credentials)).unwrap()
}

#[test]
fn a_password_opens_a_registry_that_wants_one() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::with_password();
    push_as(&artefact, &reference(&registry.host), basic(PASSWORD)).unwrap();
    let cache = cache(dir.path());
    pull(&source_as(&registry.host, basic(PASSWORD)), &cache).unwrap();
    assert_complete(&cache, &artefact);

    let mut hints = Vec::new();
    for credentials in [basic("wrong"), Credentials::Anonymous] {
        let error = pull(&source_as(&registry.host, credentials.clone()), &cache).unwrap_err();
        assert_eq!(error.code(), codes::REGISTRY_REFUSED);
        hints.push(error.hints().join("; ").replace(&registry.host, "HOST"));
        let error = push_as(&artefact, &reference(&registry.host), credentials).unwrap_err();
        assert_eq!(error.code(), codes::REGISTRY_REFUSED);
    }
    assert_eq!(hints[0], hints[1]);
    assert_snapshot!(hints[0], @"log in with `docker login HOST` or `podman login HOST`; a repository that does not exist is refused in the same way");
}

#[test]
fn a_token_is_asked_for_once_and_renewed_when_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    push(&artefact, &registry.host);
    // Anonymous, as with ghcr.io.
    let tokens = token_server(false);
    let proxy = guarded(&registry, &tokens, usize::MAX);
    pull(&source(&proxy.host), &cache(dir.path())).unwrap();
    let asked = tokens.proxy.seen("/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "GET /token?service=test&scope=repository%3Aowner%2Fartefact%3Apull");
    assert_eq!(asked[0].header("authorization"), None);
    // Good for two requests, one after the other: the manifests and blobs need six.
    let dir = tempfile::tempdir().unwrap();
    let tokens = token_server(true);
    let proxy = guarded(&registry, &tokens, 2);
    let cache = cache(dir.path());
    let limits = Limits { parallel: 1, ..LIMITS };
    let source = Source::open(&reference(&proxy.host), &Access { limits, ..access(basic(PASSWORD)) }).unwrap();
    pull(&source, &cache).unwrap();
    assert_complete(&cache, &artefact);
    assert!(tokens.given.load(Ordering::SeqCst) >= 3);
    // The password was for the token server alone.
    assert!(
        proxy.seen("").iter().all(|seen| !seen.header("authorization").is_some_and(|value| value.contains("Basic")))
    );
}

#[test]
fn a_push_needs_a_token_for_pushing() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    let tokens = token_server(true);
    let proxy = guarded(&registry, &tokens, usize::MAX);
    push_as(&artefact, &reference(&proxy.host), basic(PASSWORD)).unwrap();
    assert!(tokens.proxy.seen("/token")[0].line.ends_with("artefact%3Apull%2Cpush"));
    // Tokens that are refused in the middle of an upload.
    let other = RealRegistry::start();
    let tokens = token_server(true);
    let proxy = guarded(&other, &tokens, 3);
    push_as(&artefact, &reference(&proxy.host), basic(PASSWORD)).unwrap();
    let cache = cache(dir.path());
    pull(&source(&other.host), &cache).unwrap();
    assert_complete(&cache, &artefact);
}

#[test]
fn a_token_server_that_refuses_is_final_and_one_that_fails_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    push(&artefact, &registry.host);
    let tokens = token_server(true);
    let proxy = guarded(&registry, &tokens, usize::MAX);
    let mut said = Vec::new();
    for credentials in [Credentials::Anonymous, basic("wrong")] {
        let before = tokens.proxy.seen("/token").len();
        let error = pull(&source_as(&proxy.host, credentials), &cache(dir.path())).unwrap_err();
        assert_eq!(error.code(), codes::REGISTRY_REFUSED);
        said.push(error.to_string().replace(&proxy.host, "HOST"));
        assert_eq!(tokens.proxy.seen("/token").len(), before + 1);
    }
    assert_eq!(said[0], said[1]);
    assert_snapshot!(said[0], @"registry `HOST` refuses access to `HOST/owner/artefact`: no token is given: denied: who are you?");

    for (head, times, works) in [("503 Service Unavailable", 2, true), ("429 Too Many Requests", 9, false)] {
        let busy = Proxy::start("127.0.0.1:1", vec![rule("/token", times, status(head))]);
        busy.add(rule(
            "/token",
            9,
            Fault::Answer("HTTP/1.1 200 OK".to_owned(), r#"{"access_token":"token-1"}"#.to_owned()),
        ));
        let tokens = Tokens { proxy: busy, given: Arc::new(AtomicUsize::new(1)) };
        let proxy = guarded(&registry, &tokens, usize::MAX);
        let pulled = pull(&source(&proxy.host), &cache(dir.path()));
        match pulled {
            Ok(_) => assert!(works, "{head}"),
            Err(error) => {
                assert!(!works, "{head}: {error}");
                assert_eq!(error.code(), codes::REGISTRY_FAILED, "{error}");
            }
        }
    }
}

#[test]
fn strange_token_servers_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (challenge, body) in [
        ("Bearer realm=\"http://example.org/token\"", ""),
        ("Bearer realm=\"not a url\"", ""),
        ("Bearer realm=\"http://HOST/token\"", "<html>"),
        ("Bearer realm=\"http://HOST/token\"", r#"{"token":""}"#),
        ("Bearer realm=\"http://HOST/token\"", r#"{"token":"a\nb"}"#),
    ] {
        let proxy = Proxy::start("127.0.0.1:1", vec![]);
        let challenge = challenge.replace("HOST", &proxy.host);
        proxy.add(rule("/manifests/", 9, status(&format!("401 Unauthorized\r\nwww-authenticate: {challenge}"))));
        proxy.add(rule("/token", 9, Fault::Answer("HTTP/1.1 200 OK".to_owned(), body.to_owned())));
        let error = pull(&source_as(&proxy.host, basic(PASSWORD)), &cache(dir.path())).unwrap_err();
        assert_eq!(error.code(), codes::REGISTRY_FAILED, "{challenge} {body}: {error}");
        assert!(error.to_string().contains("token server"), "{error}");
    }
}

#[test]
fn what_we_say_to_the_registry_is_not_said_to_where_it_redirects() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    push(&artefact, &registry.host);
    let tokens = token_server(true);
    let proxy = guarded(&registry, &tokens, usize::MAX);
    let storage = Proxy::start(&registry.host, vec![]);
    for blob in artefact.blobs() {
        let to = format!("http://{}/v2/{REPOSITORY}/blobs/{}?signed", storage.host, blob.digest);
        proxy.add(rule(
            format!("/blobs/{}", blob.digest),
            9,
            status(&format!("307 Temporary Redirect\r\nlocation: {to}")),
        ));
    }
    // The address that it gives has grown too old: a fresh one is asked for. And a cut is continued there.
    let layer = &artefact.layers[0];
    storage.add(rule(format!("/blobs/{}", layer.digest), 1, status("403 Forbidden")));
    storage.add(rule(format!("/blobs/{}", layer.digest), 1, Fault::Cut(1_000_000)));
    let cache = cache(dir.path());
    pull(&source_as(&proxy.host, basic(PASSWORD)), &cache).unwrap();
    assert_complete(&cache, &artefact);
    assert_eq!(proxy.seen(&format!("/blobs/{}", layer.digest)).len(), 3);
    assert!(proxy.seen("/blobs/").iter().any(|seen| seen.header("authorization").is_some()));
    let there = storage.seen("");
    assert_eq!(there.len(), artefact.blobs().len() + 2);
    assert!(there.iter().all(|seen| seen.header("authorization").is_none()), "{there:?}");
    assert!(there.last().unwrap().header("range").is_some());
}

#[test]
fn a_list_that_is_continued_elsewhere_is_refused_and_told_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::with_password();
    push_as(&artefact, &reference(&registry.host), basic(PASSWORD)).unwrap();
    let subject = artefact.index.digest;
    let listed = |link: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json";
        let body = r#"{"schemaVersion":2,"manifests":[]}"#.to_owned();
        Fault::Answer(format!("{head}\r\nlink: <{link}>; rel=\"next\""), body)
    };
    let refused = |proxy: &Proxy| {
        // So that there are credentials to be told.
        let source = source_as(&proxy.host, basic(PASSWORD));
        source.resolve(&amd64()).unwrap();
        let error = source.referrers(&subject).unwrap_err();
        assert_eq!(error.code(), codes::REGISTRY_FAILED);
        assert!(error.to_string().ends_with("continues them elsewhere"), "{error}");
    };
    // The registry itself names another host.
    let storage = Proxy::start("127.0.0.1:1", vec![]);
    let proxy = Proxy::start(&registry.host, vec![]);
    proxy.add(rule("/referrers/", 1, listed(&format!("http://{}/more", storage.host))));
    refused(&proxy);
    assert!(storage.seen("").is_empty());
    // The storage that it redirects to continues there, or sends us back.
    for link in ["/more".to_owned(), format!("http://{}/v2/more", proxy.host)] {
        let to = format!("307 Temporary Redirect\r\nlocation: http://{}/list", storage.host);
        proxy.add(rule("/referrers/", 1, status(&to)));
        storage.add(rule("/list", 1, listed(&link)));
        refused(&proxy);
    }
    assert!(storage.seen("").iter().all(|seen| seen.header("authorization").is_none()));
    assert!(storage.seen("/more").is_empty() && proxy.seen("/more").is_empty());
}

#[test]
fn a_redirect_to_plain_http_elsewhere_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start("127.0.0.1:1", vec![]);
    proxy.add(rule("/manifests/", 9, status("307 Temporary Redirect\r\nlocation: http://example.org/")));
    let error = pull(&source(&proxy.host), &cache(dir.path())).unwrap_err();
    assert_eq!(error.code(), codes::REGISTRY_FAILED);
    assert!(error.to_string().contains("plain HTTP"), "{error}");
    proxy.add(rule("/blobs/", 99, status("307 Temporary Redirect\r\nlocation: /v2/again/blobs/")));
    let blob = oci::Descriptor::of("a", b"content");
    let error = source(&proxy.host).blob(&blob, 100).unwrap_err();
    assert!(error.to_string().contains("too many redirects"), "{error}");
}

#[test]
fn an_upload_elsewhere_is_not_told_who_we_are() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    let tokens = token_server(true);
    let proxy = guarded(&registry, &tokens, usize::MAX);
    let storage = Proxy::start("127.0.0.1:1", vec![]);
    let away = format!("202 Accepted\r\nlocation: http://{}/upload?session=1", storage.host);
    proxy.add(rule(format!("POST /v2/{REPOSITORY}/blobs/uploads/"), 99, status(&away)));
    storage.add(rule("PUT /upload", 99, status("201 Created\r\nlocation: /somewhere")));
    // The registry has nothing of it, so the manifests are refused in the end.
    push_as(&artefact, &reference(&proxy.host), basic(PASSWORD)).unwrap_err();
    let there = storage.seen("PUT /upload?session=1&digest=sha256%3A");
    assert!(!there.is_empty());
    assert!(there.iter().all(|seen| seen.header("authorization").is_none()), "{there:?}");
}

#[test]
fn a_mirror_is_asked_instead_and_the_name_stays() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    let mirrored = format!("{}/cache/of-ghcr/{REPOSITORY}:v1", registry.host);
    push_as(&artefact, &mirrored.parse().unwrap(), Credentials::Anonymous).unwrap();
    let mirror: Mirror = format!("{}/cache/of-ghcr/", registry.host).parse().unwrap();
    let mut through = access(Credentials::Anonymous);
    through.mirror = Some(mirror);
    let source = Source::open(&reference("ghcr.io"), &through).unwrap();
    let cache = cache(dir.path());
    let pulled = pull(&source, &cache).unwrap();
    assert_complete(&cache, &artefact);
    assert_eq!(pulled.pinned().to_string(), format!("ghcr.io/{REPOSITORY}@{}", artefact.index.digest));
    assert_eq!(source.referrers(&artefact.index.digest).unwrap().len(), 1);
    let missing = Source::open(&format!("ghcr.io/{REPOSITORY}:v2").parse().unwrap(), &through).unwrap();
    let error = pull(&missing, &cache).unwrap_err();
    assert!(error.to_string().starts_with(&format!("`ghcr.io/{REPOSITORY}:v2`")), "{error}");

    for wrong in ["https://mirror.example.org", "", "a/B", "a b", "mirror.example.org:99999"] {
        assert_eq!(wrong.parse::<Mirror>().unwrap_err().code(), codes::REFERENCE_INVALID, "{wrong}");
    }
}
