//! A file on a server, of which only what is needed is fetched.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use diagnostic::{Error, Result, codes};
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, RANGE};
use reqwest::{StatusCode, Url};

use super::{Failure, Limits, PIECE, PIECES, broken, client, next, reason, refusal, unreachable, wait};

/// The least that is asked for at a time: a request takes as long as this many bytes.
const LEAST: u64 = 64 << 10;

/// A file on a server, read where it lies, with a request for each range. Reading on is cheap, and so is jumping ahead.
///
/// A server that knows no ranges sends the whole file: then it is read on from there, and what lies between is thrown away,
/// up to [`Limits::size`], which counts all bytes that come. [`Limits::whole`] is for everything from [`Remote::open`] on.
///
/// What fails comes out as a [`diagnostic::Error`] within the [`io::Error`].
///
/// ```no_run
/// use fetch::http::{self, Limits, Remote};
/// use gguf::{Arrays, ModelFiles};
///
/// # fn model(url: &str, limits: &Limits) -> diagnostic::Result<ModelFiles> {
/// let name = http::file_name(url)?;
/// ModelFiles::read(&name, Arrays::SHORT, |part| Remote::open(&http::beside(url, part)?, limits))
/// # }
/// ```
#[derive(Debug)]
pub struct Remote {
    client: Client,
    url: String,
    limits: Limits,
    deadline: Instant,
    /// Bytes that came, of all answers.
    received: u64,
    /// The size of the file, and what tells this version of it from others, once known.
    size: Option<u64>,
    tag: Option<String>,
    position: u64,
    body: Option<Body>,
}

/// An answer that is being read.
#[derive(Debug)]
struct Body {
    pieces: Receiver<Result<Piece, Failure>>,
    /// The piece that is being used, from which byte on, and where in the file that byte lies.
    piece: Vec<u8>,
    used: usize,
    at: u64,
    /// Where the answer ends; a whole file of unknown size has no end.
    end: Option<u64>,
}

/// What an answer says before its body.
#[derive(Debug, PartialEq, Eq)]
struct Start {
    at: u64,
    end: Option<u64>,
    size: Option<u64>,
    tag: Option<String>,
}

enum Piece {
    Start(Start),
    Bytes(Vec<u8>),
    End,
    /// The range lies behind the end of the file, which has this size.
    Behind {
        size: u64,
    },
}

impl Remote {
    /// Asks for the start of the file, and waits for the answer.
    ///
    /// # Errors
    /// [`codes::NOT_FOUND`] when the server says that there is no such file; [`codes::UNREACHABLE`] when no server answers
    /// usefully after all tries.
    pub fn open(url: &str, limits: &Limits) -> Result<Remote> {
        let mut remote = Remote {
            client: client(limits)?,
            url: parse(url)?.into(),
            limits: *limits,
            deadline: Instant::now() + limits.whole,
            received: 0,
            size: None,
            tag: None,
            position: 0,
            body: None,
        };
        remote.again(|remote| remote.ask(LEAST))?;
        Ok(remote)
    }

    /// How large the file is, where the server said so.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// How many bytes came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Does something until it works, or there is no more hope.
    fn again<T>(&mut self, mut attempt: impl FnMut(&mut Remote) -> Result<T, Failure>) -> Result<T> {
        let mut tries = 1;
        loop {
            let (why, after) = match attempt(self) {
                Ok(done) => return Ok(done),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::NoConnection(why)) if self.received == 0 && tries == 1 => {
                    return Err(unreachable(&self.url, &why));
                }
                Err(Failure::NoConnection(why)) => (why, None),
                Err(Failure::Retry { why, after }) => (why, after),
            };
            self.body = None;
            let backoff = self.limits.backoff.saturating_mul(1 << (tries - 1).min(16));
            let pause = after.unwrap_or(backoff).min(self.limits.longest_pause);
            if tries >= self.limits.attempts || Instant::now() + pause >= self.deadline {
                return Err(unreachable(&self.url, &why));
            }
            wait(pause)?;
            tries += 1;
        }
    }

    /// Some bytes from the position on; none at the end of the file.
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        if self.size.is_some_and(|size| self.position >= size) {
            return Ok(0);
        }
        let covers = |body: &Body| body.at <= self.position && body.end.is_none_or(|end| self.position < end);
        if !self.body.as_ref().is_some_and(covers) && !self.ask(buffer.len() as u64)? {
            return Ok(0);
        }
        loop {
            let body = self.body.as_mut().expect("it was there, or was asked for");
            let left = (body.piece.len() - body.used) as u64;
            let unwanted = (self.position - body.at).min(left);
            body.used += unwanted as usize;
            body.at += unwanted;
            if body.at == self.position && body.used < body.piece.len() {
                let count = buffer.len().min(body.piece.len() - body.used);
                buffer[..count].copy_from_slice(&body.piece[body.used..][..count]);
                body.used += count;
                body.at += count as u64;
                self.position += count as u64;
                return Ok(count);
            }
            match next(&body.pieces, self.deadline)? {
                Piece::Bytes(piece) => {
                    self.received += piece.len() as u64;
                    if self.received > self.limits.size {
                        return Err(self.too_much().into());
                    }
                    (body.piece, body.used) = (piece, 0);
                }
                Piece::End if body.end.is_none() => {
                    self.size = Some(body.at);
                    return Ok(0);
                }
                Piece::End | Piece::Start(_) | Piece::Behind { .. } => return Err(broke_off()),
            }
        }
    }

    /// Asks for at least `wanted` bytes from the position on, and waits until the answer starts. `false` when there are none.
    fn ask(&mut self, wanted: u64) -> Result<bool, Failure> {
        let first = self.position;
        let last = first.saturating_add(wanted.max(LEAST)) - 1;
        let request = self.client.get(&self.url).header(ACCEPT_ENCODING, "identity");
        let request = request.header(RANGE, format!("bytes={first}-{last}"));
        let (sender, pieces) = mpsc::sync_channel(PIECES);
        let url = self.url.clone();
        // Not joined: on Ctrl-C it may sit in a silent connection; it ends at the read timeout or when a send fails.
        thread::spawn(move || {
            let last = transfer(request, &url, first, |piece| sender.send(Ok(piece)).is_ok());
            // The receiver is gone only when it no longer cares.
            let _ = sender.send(last.map(|()| Piece::End));
        });
        match next(&pieces, self.deadline)? {
            Piece::Start(Start { at, end, size, tag }) => {
                self.same_file(size, tag)?;
                self.body = Some(Body { pieces, piece: Vec::new(), used: 0, at, end });
                Ok(true)
            }
            Piece::Behind { size } => {
                self.same_file(Some(size), None)?;
                // It said before that there is more, or says now that there is.
                if size > first { Err(broke_off()) } else { Ok(false) }
            }
            Piece::Bytes(_) | Piece::End => Err(broke_off()),
        }
    }

    /// Refuses a file that became another one between two answers.
    fn same_file(&mut self, size: Option<u64>, tag: Option<String>) -> Result<()> {
        let differs = |old: &Option<u64>, new: &Option<u64>| old.is_some() && new.is_some() && old != new;
        let tag_differs = self.tag.is_some() && tag.is_some() && self.tag != tag;
        if differs(&self.size, &size) || tag_differs {
            let message = format!("`{}` changed while it was read", self.url);
            return Err(Error::new(codes::UNREACHABLE, message).hint("try again"));
        }
        self.size = self.size.or(size);
        self.tag = self.tag.take().or(tag);
        Ok(())
    }

    fn too_much(&self) -> Error {
        let Remote { url, limits, .. } = self;
        Error::new(
            codes::ARCHIVE_INVALID,
            format!("more than {} bytes of `{url}` would have to be fetched", limits.size),
        )
        .hint("its server sends files only from the start on: download it, and name the file")
    }
}

impl Read for Remote {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.again(|remote| remote.some(buffer)).map_err(io::Error::other)
    }
}

impl Seek for Remote {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
            SeekFrom::End(distance) => {
                self.size.ok_or(io::Error::from(ErrorKind::Unsupported))?.checked_add_signed(distance)
            }
        };
        self.position = position.ok_or(io::Error::from(ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

/// Sends one request and reads its answer; `send` tells whether anybody still listens.
fn transfer(
    request: RequestBuilder,
    url: &str,
    first: u64,
    mut send: impl FnMut(Piece) -> bool,
) -> Result<(), Failure> {
    let mut response = request.send().map_err(|error| match error.is_connect() {
        true => Failure::NoConnection(reason(&error)),
        false => Failure::Retry { why: reason(&error), after: None },
    })?;
    let start = match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let Some(size) =
                header(&response, CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes */")?.parse().ok())
            else {
                return Err(refusal(&response, url));
            };
            send(Piece::Behind { size });
            return Ok(());
        }
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => start(&response, first).ok_or_else(|| {
            Failure::Final(unreachable(url, "the server's answer is not the part of the file that was asked for"))
        })?,
        _ => return Err(refusal(&response, url)),
    };
    // A server may send more than it announced.
    let mut left = start.end.map_or(u64::MAX, |end| end - start.at);
    if !send(Piece::Start(start)) {
        return Ok(());
    }
    let mut buffer = vec![0; PIECE];
    while left > 0 {
        let room = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        match response.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(n) if send(Piece::Bytes(buffer[..n].to_vec())) => left -= n as u64,
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(&error)),
        }
    }
    Ok(())
}

/// What an answer covers; `None` when that is not what was asked for, or cannot be understood.
fn start(response: &Response, first: u64) -> Option<Start> {
    if header(response, CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return None;
    }
    let tag = header(response, ETAG).filter(|tag| !tag.starts_with("W/")).map(str::to_owned);
    if response.status() == StatusCode::OK {
        let size = response.content_length();
        return Some(Start { at: 0, end: size, size, tag });
    }
    let (at, end, size) = content_range(header(response, CONTENT_RANGE)?)?;
    (at == first).then_some(Start { at, end: Some(end), size, tag })
}

/// `bytes 5-9/20`: from 5 up to and without 10, of 20; the size may be `*`.
fn content_range(range: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, size) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let size: Option<u64> = if size == "*" { None } else { Some(size.parse().ok()?) };
    let end = last.checked_add(1)?;
    (first <= last && size.is_none_or(|size| end <= size)).then_some((first, end, size))
}

fn header(response: &Response, name: reqwest::header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

fn broke_off() -> Failure {
    Failure::Retry { why: "the connection broke off".to_owned(), after: None }
}

/// The last part of an address, as it stands there.
///
/// # Errors
/// [`codes::UNREACHABLE`]: it is no address of a file.
pub fn file_name(url: &str) -> Result<String> {
    let parsed = parse(url)?;
    match parsed.path().rsplit_once('/') {
        Some((_, name)) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(unreachable(url, "it names no file")),
    }
}

/// The address of a file that lies beside another: what follows a `?` stays.
///
/// # Errors
/// [`codes::UNREACHABLE`]: `url` is no address of a file.
pub fn beside(url: &str, name: &str) -> Result<String> {
    let mut parsed = parse(url)?;
    let dir = parsed.path().rsplit_once('/').map_or("", |(dir, _)| dir);
    let path = format!("{dir}/{name}");
    parsed.set_path(&path);
    Ok(parsed.into())
}

fn parse(url: &str) -> Result<Url> {
    let parsed = Url::parse(url).map_err(|error| unreachable(url, &error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(unreachable(url, "its scheme is neither `https` nor `http`"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        // It would be shown in messages, and sent on.
        return Err(Error::new(codes::UNREACHABLE, "an address with a user name or a password is not taken"));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_understood_or_refused() {
        assert_eq!(content_range("bytes 5-9/20"), Some((5, 10, Some(20))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, 1, None)));
        for hostile in [
            "",
            "bytes",
            "bytes 9-5/20",
            "bytes 5-9",
            "bytes 5-20/20",
            "bytes -5/20",
            "bytes */20",
            "lines 5-9/20",
            "bytes 0-18446744073709551615/*",
            "bytes 0-99999999999999999999/*",
        ] {
            assert_eq!(content_range(hostile), None, "{hostile}");
        }
    }

    #[test]
    fn siblings_of_an_address_keep_its_query() {
        let url = "https://a.example/m/Some%20Model-00001-of-00002.gguf?download=true";
        let name = file_name(url).expect("it names a file");
        assert_eq!(name, "Some%20Model-00001-of-00002.gguf");
        let sibling = beside(url, &name.replace("00001-of", "00002-of")).expect("it names a file");
        assert_eq!(sibling, "https://a.example/m/Some%20Model-00002-of-00002.gguf?download=true");
        for refused in ["https://a.example/", "file:///etc/passwd", "model.gguf", "https://me:secret@a.example/m.gguf"]
        {
            let error = file_name(refused).expect_err(refused);
            assert_eq!(error.code(), codes::UNREACHABLE);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
