//! Bounded, resumable downloads over HTTP, and files of which parts are read where they lie ([`Remote`]).
//!
//! The transfer runs in a thread of its own and hands over pieces, so that Ctrl-C is seen while a server is silent.
//! Proxies come from the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` ...). No credentials are ever sent.

mod part;
mod remote;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Once;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use build_info::Sha256Digest;
use diagnostic::{Error, Result, codes};
use process::interrupt;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE, RETRY_AFTER};
use reqwest::redirect::{self, Policy};

pub use part::sha256_of;
pub use remote::{Remote, beside, file_name};

use part::Part;

/// How often a waiting download looks for Ctrl-C.
const POLL: Duration = Duration::from_millis(50);
/// Pieces that travel from the transfer thread, and how many may wait: 1 MiB in flight.
const PIECE: usize = 64 << 10;
const PIECES: usize = 16;
const REDIRECTS: usize = 5;

/// How long and how much a download may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub read: Duration,
    /// Tries in all, the first included.
    pub attempts: u32,
    /// Pause before the second try; doubles for each further one.
    pub backoff: Duration,
    /// The longest pause that a server may ask for with `Retry-After`.
    pub longest_pause: Duration,
    /// For the whole download, all tries and pauses included.
    pub whole: Duration,
    /// Bytes of the body.
    pub size: u64,
}

/// A finished download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downloaded {
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Digest of the file.
    pub sha256: Sha256Digest,
}

/// Downloads `url` to the file `to`, and checks its digest when one is expected.
///
/// Bytes go to `to` + `.part` first, which is renamed when all is well. With an expected digest a `.part` that an earlier
/// run left is continued; without one nothing could tell whether it belongs to the same file, so it is dropped.
/// `progress` hears the bytes present and, when known, their final count.
///
/// # Errors
/// [`codes::UNREACHABLE`] when no server answers usefully after all tries; [`codes::NOT_FOUND`] when it says that there
/// is no such file; [`codes::DIGEST_MISMATCH`]; [`codes::ARCHIVE_INVALID`] when the body exceeds `limits.size`.
pub fn download(
    url: &str,
    to: &Path,
    expected: Option<Sha256Digest>,
    limits: &Limits,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<Downloaded> {
    let client = client(limits)?;
    let deadline = Instant::now() + limits.whole;
    let mut part = Part::open(to, expected.is_some())?;
    if expected == Some(part.digest().sha256) {
        // An earlier run was stopped between the last byte and the new name.
        part.keep(to)?;
        return Ok(part.digest());
    }
    let mut resumed = part.bytes > 0;
    let mut attempt = 1;
    loop {
        let ended = attempt_once(&client, url, &mut part, limits, deadline, progress);
        let (why, after) = match ended {
            Ok(()) => {
                let downloaded = part.digest();
                match expected {
                    // Bytes of an earlier run may be to blame: once more, from the start.
                    Some(expected) if expected != downloaded.sha256 && resumed => {
                        resumed = false;
                        part.restart()?;
                        continue;
                    }
                    Some(expected) if expected != downloaded.sha256 => {
                        part.remove();
                        return Err(mismatch(url, expected, downloaded.sha256));
                    }
                    _ => {
                        part.keep(to)?;
                        return Ok(downloaded);
                    }
                }
            }
            Err(Failure::Final(error)) => {
                if error.code() != codes::INTERRUPTED {
                    part.remove();
                }
                return Err(error);
            }
            Err(Failure::NoConnection(why)) if attempt == 1 => return Err(unreachable(url, &why)),
            Err(Failure::NoConnection(why)) => (why, None),
            Err(Failure::Retry { why, after }) => (why, after),
        };
        let backoff = limits.backoff.saturating_mul(1 << (attempt - 1).min(16));
        let pause = after.unwrap_or(backoff).min(limits.longest_pause);
        if attempt == limits.attempts.max(1) || Instant::now() + pause >= deadline {
            return Err(unreachable(url, &why));
        }
        wait(pause)?;
        attempt += 1;
    }
}

/// The error of bytes that are not the expected ones.
pub(crate) fn mismatch(what: &str, expected: Sha256Digest, actual: Sha256Digest) -> Error {
    Error::new(codes::DIGEST_MISMATCH, format!("`{what}` has the sha256 {actual}, but {expected} is expected"))
        .hint("the file was changed on its way or at its source; it was dropped")
}

enum Failure {
    /// Trying again cannot help.
    Final(Error),
    /// There is no way to the server. At the first try this is final: a machine without a way out must learn so quickly.
    NoConnection(String),
    /// Trying again may help, perhaps after the pause that the server asked for.
    Retry { why: String, after: Option<Duration> },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

/// What the transfer thread says.
enum Piece {
    /// The body starts at this offset of the file and ends at that length, if known.
    Start {
        offset: u64,
        total: Option<u64>,
    },
    Bytes(Vec<u8>),
    End,
}

fn attempt_once(
    client: &Client,
    url: &str,
    part: &mut Part,
    limits: &Limits,
    deadline: Instant,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), Failure> {
    let (sender, pieces) = mpsc::sync_channel(PIECES);
    let request = client.get(url).header(ACCEPT_ENCODING, "identity");
    let request = if part.bytes > 0 { request.header(RANGE, format!("bytes={}-", part.bytes)) } else { request };
    let (url, resume_at) = (url.to_owned(), part.bytes);
    // Not joined: on Ctrl-C it may sit in a silent connection; it ends at the read timeout or when a send fails.
    thread::spawn(move || {
        let last = match request.send() {
            Ok(response) => transfer(response, &url, resume_at, |piece| sender.send(Ok(piece)).is_ok()),
            Err(error) if error.is_connect() => Err(Failure::NoConnection(reason(&error))),
            Err(error) => Err(Failure::Retry { why: reason(&error), after: None }),
        };
        // The receiver is gone only when it no longer cares.
        let _ = sender.send(last.map(|()| Piece::End));
    });
    let mut total = None;
    loop {
        match next(&pieces, deadline)? {
            Piece::Start { offset, total: of } => {
                if offset != part.bytes {
                    part.restart()?;
                }
                total = of;
                if total.is_some_and(|total| total > limits.size) {
                    return Err(too_large(part, limits).into());
                }
            }
            Piece::Bytes(bytes) => {
                if part.bytes + bytes.len() as u64 > limits.size {
                    return Err(too_large(part, limits).into());
                }
                part.write(&bytes)?;
            }
            Piece::End if total.is_some_and(|total| total != part.bytes) => {
                return Err(Failure::Retry { why: "the connection broke off".to_owned(), after: None });
            }
            Piece::End => return Ok(()),
        }
        progress(part.bytes, total);
    }
}

/// Waits for the next piece, Ctrl-C, or the deadline.
fn next<T>(pieces: &Receiver<Result<T, Failure>>, deadline: Instant) -> Result<T, Failure> {
    loop {
        interrupt::check()?;
        if Instant::now() >= deadline {
            return Err(Failure::Retry { why: "it took too long".to_owned(), after: None });
        }
        match pieces.recv_timeout(POLL) {
            Ok(piece) => return piece,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Retry { why: "the transfer ended early".to_owned(), after: None });
            }
        }
    }
}

/// Reads one answer; `send` tells whether anybody still listens.
fn transfer(
    mut response: Response,
    url: &str,
    resume_at: u64,
    mut send: impl FnMut(Piece) -> bool,
) -> Result<(), Failure> {
    let status = response.status();
    let offset = match status {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if starts_at(&response) == Some(resume_at) => resume_at,
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if resume_at > 0 => {
            // What we have is no prefix of what it has: forget ours.
            send(Piece::Start { offset: 0, total: None });
            return Err(Failure::Retry {
                why: "the server cannot continue a download".to_owned(),
                after: Some(Duration::ZERO),
            });
        }
        _ => return Err(refusal(&response, url)),
    };
    let total = response.content_length().map(|rest| offset.saturating_add(rest));
    if !send(Piece::Start { offset, total }) {
        return Ok(());
    }
    let mut buffer = vec![0; PIECE];
    loop {
        match response.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) if send(Piece::Bytes(buffer[..n].to_vec())) => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(&error)),
        }
    }
}

/// What an answer without a body of use means.
fn refusal(response: &Response, url: &str) -> Failure {
    let status = response.status();
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        return Error::new(codes::NOT_FOUND, format!("`{url}` does not exist (HTTP {})", status.as_u16())).into();
    }
    let why = format!("the server answered HTTP {status}").trim_end().to_owned();
    let worth_retrying =
        status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if worth_retrying {
        Failure::Retry { why, after: retry_after(response) }
    } else {
        Failure::Final(unreachable(url, &why))
    }
}

/// A body that ended where it should not.
fn broken(error: &io::Error) -> Failure {
    let why = error.get_ref().and_then(|inner| inner.downcast_ref()).map_or_else(|| error.to_string(), reason);
    Failure::Retry { why, after: None }
}

/// Where a partial answer starts: `bytes 5-9/10` starts at 5.
fn starts_at(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// `Retry-After` in seconds; its other form, a date, is rare and left to the usual pause.
fn retry_after(response: &Response) -> Option<Duration> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn client(limits: &Limits) -> Result<Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Fails when the program has chosen a provider of its own, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let policy = Policy::custom(|attempt: redirect::Attempt<'_>| {
        let downgraded = attempt.url().scheme() != "https"
            && attempt.previous().last().is_some_and(|previous| previous.scheme() == "https");
        if downgraded {
            attempt.error("a redirect leads away from https")
        } else if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .user_agent(concat!("caravan/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits.connect)
        .timeout(limits.read)
        .redirect(policy)
        .referer(false)
        .build()
        .map_err(|error| {
            Error::new(codes::UNREACHABLE, format!("HTTP cannot be used: {}", reason(&error))).source(error)
        })
}

/// The innermost cause, which says what happened; the outer ones repeat the address.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn unreachable(url: &str, why: &str) -> Error {
    Error::new(codes::UNREACHABLE, format!("`{url}` cannot be fetched: {why}"))
}

fn too_large(part: &Part, limits: &Limits) -> Error {
    let name = part.path.with_extension("");
    Error::new(codes::ARCHIVE_INVALID, format!("download `{}` is larger than {} bytes", name.display(), limits.size))
}

fn wait(length: Duration) -> Result<()> {
    let start = Instant::now();
    loop {
        interrupt::check()?;
        let left = length.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(POLL));
    }
}
