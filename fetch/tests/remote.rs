//! Models on a real server on the loopback interface: of each only the header is fetched.

#![expect(clippy::unwrap_used, reason = "helpers of tests, as the tests themselves, fail by panicking")]

mod common {
    pub(crate) mod limits;
    pub(crate) mod ranges;
    pub(crate) mod server;
}

use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use common::limits;
use common::ranges::{Kind, Ranges};
use common::server::{Answer, Server, answer, ok};
use diagnostic::{Code, Error, Result, codes};
use fetch::http::{Limits, Remote, beside, file_name};
use gguf::model::{Quant, Shape, plan, write};
use gguf::{Arrays, ModelFiles};

const LIMITS: Limits = Limits { size: 8 << 20, ..limits::LIMITS };

fn model(url: &str, limits: &Limits) -> Result<ModelFiles> {
    ModelFiles::read(&file_name(url)?, Arrays::SHORT, |part| Remote::open(&beside(url, part)?, limits))
}

fn tiny() -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&plan(Shape::Tiny, Quant::F16, 1), &mut bytes, |_| Ok(())).unwrap();
    bytes
}

fn all(remote: &mut Remote) -> Vec<u8> {
    let mut bytes = Vec::new();
    remote.read_to_end(&mut bytes).unwrap();
    bytes
}

fn refused(error: &Error, code: &'static Code, words: &str) {
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn of_a_model_on_a_server_only_the_header_is_fetched() {
    let bytes = tiny();
    assert!(bytes.len() > 3_000_000);
    let server = Ranges::start(vec![("m.gguf", bytes.clone())], Kind::Ranges);
    let files = model(&server.url("m.gguf"), &LIMITS).unwrap();
    assert_eq!(files.header.tensors, plan(Shape::Tiny, Quant::F16, 1).tensors);
    assert_eq!(files.bytes(), Some(bytes.len() as u64));
    let requests = server.stop();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].contains("range: bytes=0-65535"));
    assert!(requests[0].contains("accept-encoding: identity"));
}

#[test]
fn any_part_finds_the_others() {
    let part = |no: u16, tensors: &[&str]| {
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((tensors.len() as u64).to_le_bytes());
        bytes.extend(3_u64.to_le_bytes());
        for (key, value) in [("split.no", no), ("split.count", 2), ("split.tensors.count", 2)] {
            text(&mut bytes, key);
            bytes.extend(2_u32.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        for name in tensors {
            text(&mut bytes, name);
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(8_u64.to_le_bytes());
            bytes.extend(0_u32.to_le_bytes());
            bytes.extend(0_u64.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32) + 32, 0);
        bytes
    };
    let parts = vec![("a-00001-of-00002.gguf", part(0, &["a"])), ("a-00002-of-00002.gguf", part(1, &["b"]))];
    let server = Ranges::start(parts.clone(), Kind::Ranges);
    for (name, _) in &parts {
        let files = model(&format!("{}?download=true", server.url(name)), &LIMITS).unwrap();
        let names: Vec<_> = files.header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }
    assert_eq!(server.stop().len(), 4);

    let server = Ranges::start(parts[..1].to_vec(), Kind::Ranges);
    refused(
        &model(&server.url("a-00001-of-00002.gguf"), &LIMITS).unwrap_err(),
        codes::NOT_FOUND,
        "a-00002-of-00002.gguf",
    );
}

#[test]
fn reading_and_seeking_give_the_bytes_of_the_file() {
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for kind in [Kind::Ranges, Kind::WholeFile, Kind::WholeFileOfUnknownSize, Kind::RangesOfUnknownSize] {
        let server = Ranges::start(vec![("f", bytes.clone())], kind);
        let mut remote = Remote::open(&server.url("f"), &LIMITS).unwrap();
        let known = matches!(kind, Kind::Ranges | Kind::WholeFile);
        assert_eq!(remote.size(), known.then_some(1_000_000), "{kind:?}");
        let mut some = [0; 100];
        for place in [0, 10, 500_000, 500_100, 3, 900_000] {
            remote.seek(SeekFrom::Start(place)).unwrap();
            remote.read_exact(&mut some).unwrap();
            assert_eq!(some, bytes[place as usize..][..100], "{kind:?} {place}");
        }
        assert_eq!(all(&mut remote), bytes[900_100..], "{kind:?}");
        remote.seek(SeekFrom::Start(2_000_000)).unwrap();
        assert_eq!(remote.read(&mut some).unwrap(), 0, "{kind:?}");
        server.stop();
    }
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_start_but_not_for_ever() {
    let bytes = tiny();
    let server = Ranges::start(vec![("m.gguf", bytes.clone())], Kind::WholeFile);
    let files = model(&server.url("m.gguf"), &LIMITS).unwrap();
    assert_eq!(files.header.tensors.len(), 21);
    assert_eq!(server.stop().len(), 1);

    let server = Ranges::start(vec![("m.gguf", bytes)], Kind::WholeFile);
    let mut remote = Remote::open(&server.url("m.gguf"), &Limits { size: 1 << 20, ..LIMITS }).unwrap();
    remote.seek(SeekFrom::Start(2 << 20)).unwrap();
    let error = remote.read(&mut [0; 8]).unwrap_err().downcast::<Error>().unwrap();
    refused(&error, codes::ARCHIVE_INVALID, "more than 1048576 bytes");
    assert!(remote.received() < 2 << 20, "{}", remote.received());
}

/// One scripted answer to a model's first request.
fn of(script: Vec<Answer>) -> Result<ModelFiles> {
    let limits = Limits { read: Duration::from_millis(400), whole: Duration::from_secs(5), ..LIMITS };
    model(&Server::start(script).url, &limits)
}

fn partial(range: &str, body: &[u8]) -> Answer {
    answer(format!("HTTP/1.1 206 Partial Content\r\ncontent-range: {range}\r\ncontent-length: {}", body.len()), body)
}

#[test]
fn answers_to_another_question_are_refused() {
    let body = vec![0; 100];
    for range in ["bytes 5-104/1000", "bytes 0-99/50", "bytes 99-0/1000", "bytes 0-18446744073709551615/*", "nonsense"]
    {
        refused(&of(vec![partial(range, &body)]).unwrap_err(), codes::UNREACHABLE, "is not the part of the file");
    }
    let none = answer("HTTP/1.1 206 Partial Content\r\ncontent-length: 100", body.clone());
    refused(&of(vec![none]).unwrap_err(), codes::UNREACHABLE, "is not the part of the file");
    let packed = answer("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 100", body);
    refused(&of(vec![packed]).unwrap_err(), codes::UNREACHABLE, "is not the part of the file");
}

#[test]
fn sizes_that_are_announced_are_not_believed() {
    let page = b"<!DOCTYPE html>";
    let exabyte = answer("HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807", page.to_vec());
    refused(&of(vec![exabyte]).unwrap_err(), codes::MODEL_INVALID, "not a GGUF file, it starts with `<!DO`");
    let range = partial("bytes 0-14/18446744073709551615", page);
    refused(&of(vec![range]).unwrap_err(), codes::MODEL_INVALID, "not a GGUF file");
    refused(&of(vec![ok(b"")]).unwrap_err(), codes::MODEL_INVALID, "it is empty");
    let behind = answer("HTTP/1.1 416 Range Not Satisfiable\r\ncontent-range: bytes */0\r\ncontent-length: 0", "");
    refused(&of(vec![behind]).unwrap_err(), codes::MODEL_INVALID, "it is empty");
    // A header that claims to go on for ever, from a server that does.
    let mut endless = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec();
    endless.resize(64 << 20, 0);
    let start = Instant::now();
    let error = of(vec![answer("HTTP/1.1 200 OK", endless)]).unwrap_err();
    assert_eq!(error.code(), codes::MODEL_INVALID, "{error}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let body: Vec<u8> = (0..100_u8).collect();
    let server = Server::start(vec![
        answer("HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-99/100\r\ncontent-length: 100", &body[..40]),
        partial("bytes 40-99/100", &body[40..]),
    ]);
    let mut remote = Remote::open(&server.url, &LIMITS).unwrap();
    assert_eq!(all(&mut remote), body);
    assert!(server.requests()[1].contains("range: bytes=40-"));

    let server = Server::start(vec![
        answer("HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0", ""),
        ok(&body),
    ]);
    assert_eq!(all(&mut Remote::open(&server.url, &LIMITS).unwrap()), body);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let body = [7; 100];
    let tagged = |tag: &str, range: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\netag: \"{tag}\"\r\ncontent-range: {range}\r\ncontent-length: {}",
            body.len()
        );
        answer(head, body)
    };
    for second in [tagged("b", "bytes 50-99/200", &body[..50]), tagged("a", "bytes 50-99/201", &body[..50])] {
        let server = Server::start(vec![tagged("a", "bytes 0-49/200", &body[..50]), second]);
        let mut remote = Remote::open(&server.url, &LIMITS).unwrap();
        let error = remote.read_to_end(&mut Vec::new()).unwrap_err().downcast::<Error>().unwrap();
        refused(&error, codes::UNREACHABLE, "changed while it was read");
    }
}

#[test]
fn silence_refusals_and_loops_end() {
    let limits = Limits { read: Duration::from_millis(150), attempts: 2, ..LIMITS };
    let silent =
        || Answer { silence: Duration::from_millis(600), ..answer("HTTP/1.1 200 OK\r\ncontent-length: 90", "") };
    let server = Server::start(vec![silent(), silent()]);
    let mut remote = Remote::open(&server.url, &limits).unwrap();
    let error = remote.read(&mut [0; 8]).unwrap_err().downcast::<Error>().unwrap();
    refused(&error, codes::UNREACHABLE, "did not answer in time");

    refused(&of(vec![answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0", "")]).unwrap_err(), codes::NOT_FOUND, "404");
    refused(
        &of(vec![answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 0", "")]).unwrap_err(),
        codes::UNREACHABLE,
        "403",
    );
    let away = |_| answer("HTTP/1.1 302 Found\r\nlocation: /file\r\ncontent-length: 0", "");
    let server = Server::start((0..10).map(away).collect());
    let error = Remote::open(&server.url, &Limits { attempts: 1, ..LIMITS }).unwrap_err();
    refused(&error, codes::UNREACHABLE, "too many redirects");
    let elsewhere = answer("HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0", "");
    let error = of(vec![elsewhere]).unwrap_err();
    assert_eq!(error.code(), codes::UNREACHABLE, "{error}");
    refused(&Remote::open("http://127.0.0.1:1/m", &LIMITS).unwrap_err(), codes::UNREACHABLE, "127.0.0.1:1");
}

#[test]
fn redirects_lead_to_the_ranges() {
    let body: Vec<u8> = (0..200_u8).collect();
    let target = Server::start(vec![partial("bytes 0-199/200", &body)]);
    let head = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0", target.url);
    let server = Server::start(vec![answer(head, "")]);
    assert_eq!(all(&mut Remote::open(&server.url, &LIMITS).unwrap()), body);
    let requests = target.requests();
    assert!(requests[0].contains("range: bytes=0-65535") && !requests[0].contains("referer"), "{requests:?}");
}
