//! A proxy before a registry that misbehaves by rule: plain HTTP/1.1, one request per connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to a request.
#[derive(Clone)]
pub enum Fault {
    /// The connection ends after so many bytes of the answer's body.
    Cut(usize),
    /// The connection ends before the request's body has been read.
    Drop,
    /// A bit of the answer's body, or its last when it is shorter, is another.
    Flip(usize),
    /// This answer instead: status line and headers, and the body.
    Answer(String, String),
    /// The range that was asked for is not passed on.
    IgnoreRange,
    /// As [`Fault::IgnoreRange`], and cut after so many bytes.
    CutIgnoreRange(usize),
    /// The answer has no length, and these bytes at its end.
    Append(Vec<u8>),
    /// The answer comes piece by piece, with a pause after each.
    Slow,
    /// Nothing is answered until the client hangs up.
    Silence,
    /// So many bytes of the answer's body, then nothing until the client hangs up.
    Stall(usize),
}

/// A fault for the requests that its needle fits, as often as it says.
pub struct Rule {
    needle: String,
    times: usize,
    fault: Fault,
}

/// Every word of `needle` is looked for in `METHOD /path`.
pub fn rule(needle: impl Into<String>, times: usize, fault: Fault) -> Rule {
    Rule { needle: needle.into(), times, fault }
}

/// A short answer without a body.
pub fn status(head: &str) -> Fault {
    Fault::Answer(format!("HTTP/1.1 {head}"), String::new())
}

/// Demands a bearer token, or answers instead of the registry; decides by `METHOD /path` and the `authorization` header.
pub type Gate = Box<dyn Fn(&str, Option<&str>) -> Option<(String, String)> + Send + Sync>;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `METHOD /path?query`.
    pub line: String,
    /// The headers, in lower case.
    pub headers: Vec<String>,
    /// Bytes of the body that was answered.
    pub served: usize,
}

impl Seen {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|header| header.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A running proxy; ended when dropped.
pub struct Proxy {
    /// Host and port.
    pub host: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    rules: Mutex<Vec<Rule>>,
    gate: Option<Gate>,
    seen: Mutex<Vec<Seen>>,
    ended: AtomicBool,
}

impl Proxy {
    /// Starts before the registry at this host and port.
    pub fn start(upstream: &str, rules: Vec<Rule>) -> Proxy {
        Proxy::start_gated(upstream, rules, None)
    }

    /// As [`Proxy::start`]; the gate is asked before the rules.
    pub fn start_gated(upstream: &str, rules: Vec<Rule>, gate: Option<Gate>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            rules: Mutex::new(rules),
            gate,
            seen: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // A client that hangs up in the middle is what some tests are about.
                thread::spawn(move || stream.and_then(|stream| serve(&serving, stream)));
            }
        });
        Proxy { host, shared }
    }

    /// One more rule.
    pub fn add(&self, rule: Rule) {
        self.shared.rules.lock().unwrap().push(rule);
    }

    /// The requests that came and whose needle fits.
    pub fn seen(&self, needle: &str) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().iter().filter(|seen| fits(&seen.line, needle)).cloned().collect()
    }

    /// Bytes of bodies that went to the client for requests that the needle fits.
    pub fn served(&self, needle: &str) -> usize {
        self.seen(needle).iter().map(|seen| seen.served).sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(&self.host);
    }
}

fn serve(shared: &Shared, mut client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let line = head[0].rsplit_once(' ').unwrap().0.to_owned();
    let lower = |header: &String| {
        let (name, value) = header.split_once(':').unwrap();
        format!("{}: {}", name.to_lowercase(), value.trim())
    };
    let mut seen = Seen { line: line.clone(), headers: head[1..].iter().map(lower).collect(), served: 0 };
    let number = {
        let mut all = shared.seen.lock().unwrap();
        all.push(seen.clone());
        all.len() - 1
    };
    if let Some((head, body)) = shared.gate.as_ref().and_then(|gate| gate(&line, seen.header("authorization"))) {
        return answer(&mut client, &mut reader, &seen, &head, &body);
    }
    let fault = take_fault(shared, &line);
    match &fault {
        Some(Fault::Answer(head, body)) => return answer(&mut client, &mut reader, &seen, head, body),
        Some(Fault::Drop) => return Ok(()),
        Some(Fault::Silence) => {
            until_hung_up(shared, &mut reader);
            return Ok(());
        }
        _ => {}
    }
    let ignores_range = matches!(fault, Some(Fault::IgnoreRange | Fault::CutIgnoreRange(_)));

    let mut upstream = TcpStream::connect(&shared.upstream)?;
    let mut request = format!("{}\r\nconnection: close\r\n", head[0]);
    for header in &seen.headers {
        let name = header.split(':').next().unwrap();
        let is_ours = name == "connection" || (name == "authorization" && shared.gate.is_some());
        if !(is_ours || ignores_range && name == "range") {
            request.push_str(header);
            request.push_str("\r\n");
        }
    }
    upstream.write_all(request.as_bytes())?;
    upstream.write_all(b"\r\n")?;
    request_body(&seen, &mut reader, &mut upstream)?;

    let mut answered = Vec::new();
    upstream.read_to_end(&mut answered)?;
    let end = answered.windows(4).position(|window| window == b"\r\n\r\n").map_or(answered.len(), |at| at + 4);
    let mut body = answered.split_off(end);
    match &fault {
        Some(Fault::Cut(length) | Fault::CutIgnoreRange(length) | Fault::Stall(length)) => body.truncate(*length),
        Some(Fault::Flip(at)) if !body.is_empty() => {
            let at = (*at).min(body.len() - 1);
            body[at] ^= 1;
        }
        Some(Fault::Append(more)) => {
            let head = String::from_utf8(answered).unwrap();
            let kept = head.lines().filter(|line| !line.to_lowercase().starts_with("content-length"));
            answered = kept.map(|line| format!("{line}\r\n")).collect::<String>().into_bytes();
            body.extend_from_slice(more);
        }
        _ => {}
    }
    client.write_all(&answered)?;
    for piece in body.chunks(32 << 10) {
        client.write_all(piece)?;
        seen.served += piece.len();
        shared.seen.lock().unwrap()[number].served = seen.served;
        if matches!(fault, Some(Fault::Slow)) {
            thread::sleep(Duration::from_millis(3));
        }
    }
    client.flush()?;
    if matches!(fault, Some(Fault::Stall(_))) {
        until_hung_up(shared, &mut reader);
    }
    Ok(())
}

fn until_hung_up(shared: &Shared, reader: &mut BufReader<TcpStream>) {
    let _ = reader.get_ref().set_read_timeout(Some(Duration::from_millis(50)));
    let mut byte = [0];
    while !shared.ended.load(Ordering::SeqCst) {
        match reader.read(&mut byte) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
}

fn answer(
    client: &mut TcpStream,
    reader: &mut BufReader<TcpStream>,
    seen: &Seen,
    head: &str,
    body: &str,
) -> io::Result<()> {
    // A client that is still sending would not see the answer.
    request_body(seen, reader, &mut io::sink())?;
    client.write_all(format!("{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).as_bytes())
}

/// Passes the body of a request on, as it was sent.
fn request_body(seen: &Seen, reader: &mut BufReader<TcpStream>, to: &mut dyn Write) -> io::Result<()> {
    if seen.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            to.write_all(line.as_bytes())?;
            let length = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
            io::copy(&mut reader.by_ref().take(length + 2), to)?;
            if length == 0 {
                return Ok(());
            }
        }
    }
    let length = seen.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    io::copy(&mut reader.by_ref().take(length), to).map(drop)
}

fn fits(line: &str, needle: &str) -> bool {
    needle.split(' ').all(|word| line.contains(word))
}

/// The first rule that fits, used up once.
fn take_fault(shared: &Shared, line: &str) -> Option<Fault> {
    let mut rules = shared.rules.lock().unwrap();
    let rule = rules.iter_mut().find(|rule| rule.times > 0 && fits(line, &rule.needle))?;
    rule.times -= 1;
    Some(rule.fault.clone())
}
