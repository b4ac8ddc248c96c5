//! A loopback HTTP server that answers by script.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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
