//! Downloads against a real server on the loopback interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests, as the tests themselves, fail by panicking")]

mod common {
    pub(crate) mod limits;
    pub(crate) mod server;
}

use std::fs;
use std::path::Path;
use std::time::Duration;

use build_info::Sha256Digest;
use common::limits::LIMITS;
use common::server::{Answer, Server, answer, ok};
use diagnostic::{Result, codes};
use fetch::http::{Downloaded, Limits, download, sha256_of};
use sha2::Digest;

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::new(sha2::Sha256::digest(bytes).into())
}

fn get(url: &str, to: &Path, expected: Option<Sha256Digest>) -> Result<Downloaded> {
    download(url, to, expected, &LIMITS, &mut |_, _| {})
}

fn body() -> Vec<u8> {
    (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// `len` bytes are promised, the given ones are sent.
fn cut(promised: usize, sent: &[u8]) -> Answer {
    answer(format!("HTTP/1.1 200 OK\r\ncontent-length: {promised}"), sent)
}

fn rest(body: &[u8], from: usize) -> Answer {
    let (len, last) = (body.len() - from, body.len() - 1);
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{last}/{}\r\ncontent-length: {len}",
        body.len()
    );
    answer(head, &body[from..])
}

/// The only files in the directory of a download.
fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_whole_file_arrives_with_its_digest() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let to = dir.path().join("f");
    let server = Server::start(vec![ok(&body)]);
    let mut last = (0, None);
    let done = download(&server.url, &to, Some(digest(&body)), &LIMITS, &mut |bytes, of| {
        assert!(bytes >= last.0);
        last = (bytes, of);
    })
    .unwrap();
    assert_eq!(done, Downloaded { bytes: 200_000, sha256: digest(&body) });
    assert_eq!(last, (200_000, Some(200_000)));
    assert_eq!(fs::read(&to).unwrap(), body);
    assert_eq!(names(dir.path()), ["f"]);
    assert_eq!(sha256_of(&to).unwrap(), digest(&body));
    let requests = server.requests();
    assert!(!requests[0].contains("range:") && !requests[0].contains("authorization"), "{requests:?}");
}

#[test]
fn a_cut_download_goes_on_where_it_was_cut() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let to = dir.path().join("f");
    let server = Server::start(vec![cut(body.len(), &body[..70_000]), rest(&body, 70_000)]);
    get(&server.url, &to, Some(digest(&body))).unwrap();
    assert_eq!(fs::read(&to).unwrap(), body);
    assert!(server.requests()[1].contains("range: bytes=70000-"));
}

#[test]
fn a_download_goes_on_in_a_later_run_when_its_digest_is_known() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let to = dir.path().join("f");
    fs::write(dir.path().join("f.part"), &body[..50_000]).unwrap();
    let server = Server::start(vec![rest(&body, 50_000)]);
    get(&server.url, &to, Some(digest(&body))).unwrap();
    assert_eq!(fs::read(&to).unwrap(), body);
    assert!(server.requests()[0].contains("range: bytes=50000-"));
}

#[test]
fn a_finished_part_needs_no_server() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let to = dir.path().join("f");
    fs::write(dir.path().join("f.part"), &body).unwrap();
    get("http://127.0.0.1:1/", &to, Some(digest(&body))).unwrap();
    assert_eq!(fs::read(&to).unwrap(), body);
}

#[test]
fn a_part_of_another_file_is_forgotten() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let to = dir.path().join("f");
    fs::write(dir.path().join("f.part"), vec![0; 50_000]).unwrap();
    let server = Server::start(vec![rest(&body, 50_000), ok(&body)]);
    get(&server.url, &to, Some(digest(&body))).unwrap();
    assert_eq!(fs::read(&to).unwrap(), body);
    // Longer than the file: the server has nothing to add.
    fs::write(dir.path().join("f.part"), vec![0; 300_000]).unwrap();
    let server = Server::start(vec![answer("HTTP/1.1 416 Range Not Satisfiable\r\ncontent-length: 0", ""), ok(&body)]);
    get(&server.url, &to, Some(digest(&body))).unwrap();
    assert!(!server.requests()[1].contains("range:"));
}

#[test]
fn without_a_digest_an_old_part_is_not_trusted() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let to = dir.path().join("f");
    fs::write(dir.path().join("f.part"), vec![0; 50_000]).unwrap();
    let server = Server::start(vec![ok(&body)]);
    assert_eq!(get(&server.url, &to, None).unwrap().sha256, digest(&body));
    assert!(!server.requests()[0].contains("range:"));
}

#[test]
fn a_server_without_ranges_starts_again() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let to = dir.path().join("f");
    let server = Server::start(vec![cut(body.len(), &body[..70_000]), ok(&body)]);
    get(&server.url, &to, Some(digest(&body))).unwrap();
    assert_eq!(fs::read(&to).unwrap(), body);
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let server = Server::start(vec![ok(&body)]);
    let error = get(&server.url, &dir.path().join("f"), Some(digest(b"other"))).unwrap_err();
    assert_eq!(error.code(), codes::DIGEST_MISMATCH);
    let message = error.to_string();
    assert!(message.contains(&digest(&body).to_string()) && message.contains(&digest(b"other").to_string()));
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_body_over_the_bound_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let endless = vec![0; 1_100_000];
    // Announced, and not announced.
    for head in ["HTTP/1.1 200 OK\r\ncontent-length: 999999999999", "HTTP/1.1 200 OK"] {
        let server = Server::start(vec![answer(head, endless.clone())]);
        let error = get(&server.url, &dir.path().join("f"), None).unwrap_err();
        assert_eq!(error.code(), codes::ARCHIVE_INVALID, "{error}");
        assert!(names(dir.path()).is_empty());
    }
}

#[test]
fn a_file_that_does_not_exist_is_not_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(vec![answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0", "")]);
    let error = get(&server.url, &dir.path().join("f"), None).unwrap_err();
    assert_eq!(error.code(), codes::NOT_FOUND);
    assert_eq!(server.requests().len(), 1);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_busy_server_is_asked_again() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let busy = || answer("HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0", "");
    let server = Server::start(vec![busy(), busy(), ok(&body)]);
    get(&server.url, &dir.path().join("f"), None).unwrap();
    assert_eq!(server.requests().len(), 3);

    let server = Server::start(vec![busy(), busy(), busy()]);
    let error = get(&server.url, &dir.path().join("g"), None).unwrap_err();
    assert_eq!(error.code(), codes::UNREACHABLE);
    assert!(error.to_string().contains("503"), "{error}");
}

#[test]
fn an_absurd_retry_after_is_cut_to_our_longest_pause() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let busy = answer("HTTP/1.1 429 Too Many Requests\r\nretry-after: 86400\r\ncontent-length: 0", "");
    let server = Server::start(vec![busy, ok(&body)]);
    get(&server.url, &dir.path().join("f"), None).unwrap();
}

#[test]
fn a_refusal_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(vec![answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 0", "")]);
    let error = get(&server.url, &dir.path().join("f"), None).unwrap_err();
    assert_eq!(error.code(), codes::UNREACHABLE);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let silent = |sent: &[u8]| Answer { silence: Duration::from_millis(600), ..cut(200_000, sent) };
    let limits = Limits { read: Duration::from_millis(150), attempts: 2, ..LIMITS };
    let server = Server::start(vec![silent(&body[..10]), silent(b"")]);
    let error = download(&server.url, &dir.path().join("f"), None, &limits, &mut |_, _| {}).unwrap_err();
    assert_eq!(error.code(), codes::UNREACHABLE);
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn the_whole_download_has_a_limit_too() {
    let dir = tempfile::tempdir().unwrap();
    let silent = Answer { silence: Duration::from_millis(800), ..cut(200_000, b"a little") };
    let limits = Limits { whole: Duration::from_millis(200), ..LIMITS };
    let server = Server::start(vec![silent]);
    let error = download(&server.url, &dir.path().join("f"), None, &limits, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("took too long"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let (dir, body) = (tempfile::tempdir().unwrap(), body());
    let target = Server::start(vec![ok(&body)]);
    let server =
        Server::start(vec![answer(format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0", target.url), "")]);
    get(&server.url, &dir.path().join("f"), Some(digest(&body))).unwrap();
    assert!(!target.requests()[0].contains("referer"));

    let limits = Limits { attempts: 1, ..LIMITS };
    let server = Server::start(
        (0..10).map(|_| answer("HTTP/1.1 302 Found\r\nlocation: /file\r\ncontent-length: 0", "")).collect(),
    );
    let error = download(&server.url, &dir.path().join("g"), None, &limits, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("too many redirects"), "{error}");
}

#[test]
fn a_closed_port_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = get("http://127.0.0.1:1/file", &dir.path().join("f"), None).unwrap_err();
    assert_eq!(error.code(), codes::UNREACHABLE);
    assert!(error.to_string().to_lowercase().contains("connection refused"), "{error}");
}
