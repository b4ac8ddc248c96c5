//! A loopback HTTP server with files, that knows ranges or does not.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ranges,
    /// `bytes 0-9/*`.
    RangesOfUnknownSize,
    WholeFile,
    WholeFileOfUnknownSize,
}

pub(crate) struct Ranges {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Ranges {
    /// Serves files until it is stopped, one connection after the other.
    pub(crate) fn start(files: Vec<(&'static str, Vec<u8>)>, kind: Kind) -> Ranges {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut requests = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => requests.push(serve(stream, &files, kind)),
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
            requests
        });
        Ranges { address, stop, thread }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// The requests that came, each as its lines.
    pub(crate) fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn serve(mut stream: TcpStream, files: &[(&str, Vec<u8>)], kind: Kind) -> String {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let request = lines.collect::<Vec<_>>().join("\n").to_lowercase();
    let path = request.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
    let range = request.lines().find_map(|line| line.strip_prefix("range: bytes=")?.split_once('-'));
    let (head, body): (String, &[u8]) = match files.iter().find(|(name, _)| path == format!("/{name}")) {
        None => ("404 Not Found\r\ncontent-length: 0".to_owned(), &[]),
        Some((_, file)) if kind == Kind::WholeFile => (format!("200 OK\r\ncontent-length: {}", file.len()), file),
        Some((_, file)) if kind == Kind::WholeFileOfUnknownSize => ("200 OK".to_owned(), file),
        Some((_, file)) => {
            let (first, last) = range.expect("a range is asked for");
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let size = if kind == Kind::Ranges { file.len().to_string() } else { "*".to_owned() };
            if first >= file.len() {
                let head =
                    format!("416 Range Not Satisfiable\r\ncontent-range: bytes */{}\r\ncontent-length: 0", file.len());
                (head, &[])
            } else {
                let end = file.len().min(last + 1);
                let head = format!(
                    "206 Partial Content\r\ncontent-range: bytes {first}-{}/{size}\r\ncontent-length: {}",
                    end - 1,
                    end - first
                );
                (head, &file[first..end])
            }
        }
    };
    // The client hangs up once it has what it wants.
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(body);
    request
}
