//! A loopback HTTP server that answers by script, and archives made by hand.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

/// One scripted answer.
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The body is followed by this silence before the connection is closed.
    pub(crate) silence: Duration,
}

/// `head` is the status line and the headers, without the empty line.
pub(crate) fn answer(head: impl Into<String>, body: impl Into<Vec<u8>>) -> Answer {
    Answer { head: head.into(), body: body.into(), silence: Duration::ZERO }
}

pub(crate) fn ok(body: &[u8]) -> Answer {
    answer(format!("HTTP/1.1 200 OK\r\ncontent-length: {}", body.len()), body)
}

pub(crate) struct Server {
    pub(crate) url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Server {
    /// Answers one connection after the other, then ends; ends as well when nobody comes for a while.
    pub(crate) fn start(script: Vec<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(20);
            let mut requests = Vec::new();
            for answer in script {
                let stream = loop {
                    match listener.accept() {
                        Ok((stream, _)) => break stream,
                        Err(_) if Instant::now() > deadline => return requests,
                        Err(_) => thread::sleep(Duration::from_millis(5)),
                    }
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
                requests.push(read_request(&stream));
                let mut stream = stream;
                // The client may hang up in the middle: that is what some tests are about.
                let _ = stream.write_all(format!("{}\r\nconnection: close\r\n\r\n", answer.head).as_bytes());
                let _ = stream.write_all(&answer.body);
                thread::sleep(answer.silence);
            }
            requests
        });
        Server { url, thread }
    }

    /// The requests that came, each as its lines.
    pub(crate) fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

fn read_request(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n").to_lowercase()
}

/// A tar entry whose name is taken as it is, however hostile.
pub(crate) struct Item<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    pub(crate) link: &'a str,
    pub(crate) data: &'a [u8],
}

pub(crate) fn file<'a>(name: &'a str, data: &'a [u8]) -> Item<'a> {
    Item { name, kind: EntryType::Regular, mode: 0o644, link: "", data }
}

pub(crate) fn tar_gz(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for item in items {
        let mut header = Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..item.name.len()].copy_from_slice(item.name.as_bytes());
        old.linkname[..item.link.len()].copy_from_slice(item.link.as_bytes());
        header.set_entry_type(item.kind);
        header.set_mode(item.mode);
        header.set_size(item.data.len() as u64);
        header.set_mtime(951_782_400);
        header.set_cksum();
        builder.append(&header, item.data).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Every file below a directory with its content, sorted.
pub(crate) fn files_below(dir: &Path) -> Vec<(String, Vec<u8>)> {
    fetch::tree::list(dir)
        .unwrap()
        .into_iter()
        .map(|file| {
            let path = file.path.to_string();
            let content = std::fs::read(dir.join(&path)).unwrap();
            (path, content)
        })
        .collect()
}
