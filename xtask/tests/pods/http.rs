//! As much HTTP as the tests need: one request on a connection of its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Longer than anything here takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Nothing else here takes ports.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Sends a request, and leaves the answer to be read.
pub(crate) fn send(port: u16, method: &str, path: &str, body: &str) -> io::Result<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    stream.write_all(format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").as_bytes())?;
    Ok(stream)
}

/// The whole answer: status and body. One that ends too early is an error.
pub(crate) fn receive(stream: &mut TcpStream) -> io::Result<(u16, String)> {
    let early = |what: &str| io::Error::new(io::ErrorKind::UnexpectedEof, what.to_owned());
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| early("no answer"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| early("no status"))?;
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
    match length {
        Some(length) if body.len() != length => Err(early("the answer was cut")),
        _ => Ok((status, body.to_owned())),
    }
}

/// A request and its answer.
pub(crate) fn request(port: u16, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    receive(&mut send(port, method, path, body)?)
}

/// Whether a server is ready for requests.
pub(crate) fn is_ready(port: u16) -> bool {
    matches!(request(port, "GET", "/health", ""), Ok((200, _)))
}

/// Starts to generate `tokens` as a stream, and returns after the first.
pub(crate) fn generate(port: u16, tokens: usize) -> BufReader<TcpStream> {
    let body = format!(r#"{{"prompt":"hello","n_predict":{tokens},"stream":true,"ignore_eos":true}}"#);
    let mut stream = BufReader::new(send(port, "POST", "/completion", &body).unwrap());
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended before its first token");
    }
    stream
}

/// The tokens that a stream says at its end.
pub(crate) fn generated(mut stream: BufReader<TcpStream>) -> usize {
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let last = rest.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().expect("a last message");
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["stop"], true, "{last}");
    last["tokens_predicted"].as_u64().unwrap().try_into().unwrap()
}
