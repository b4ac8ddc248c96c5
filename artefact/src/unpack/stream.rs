//! Decompression on a thread of its own, so that it overlaps with hashing and writing files.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::mem::replace;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use build_info::Sha256Digest;
use diagnostic::{Error, Result, codes};
use flate2::bufread::MultiGzDecoder;
use oci::Digest;
use process::interrupt;
use sha2::{Digest as _, Sha256};

use crate::printable;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Zstd,
    Gzip,
}

/// The largest window that a zstd frame may ask for: 128 MiB of memory.
const WINDOW_LOG: u32 = 27;
/// Bytes that travel at once, and how many such pieces may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;

/// Decompresses `source` for `consume`, which must read to the end; returns the digest of what came out and takes its
/// length off `left`.
pub(super) fn decompress(
    source: Box<dyn Read + Send>,
    compression: Compression,
    what: &str,
    left: &mut u64,
    consume: impl FnOnce(&mut dyn Read) -> Result<()>,
) -> Result<Digest> {
    let (sender, receiver) = sync_channel(WAITING);
    let (back, used) = channel();
    let budget = *left;
    thread::scope(|scope| {
        let producer = scope.spawn(move || produce(source, compression, budget, &sender, &used));
        let mut pieces = Pieces { receiver, back, piece: Vec::new(), at: 0, hasher: Sha256::new() };
        let consumed = consume(&mut pieces);
        let digest = pieces.finish();
        let produced = producer.join().expect("decompression does not panic");
        // To the consumer, a failure of the producer looks like an early end: the cause is the better news.
        let length = produced.map_err(|failure| failure.say(what))?;
        consumed?;
        *left = budget.saturating_sub(length);
        Ok(digest)
    })
}

/// The error of a reader that the caller has given.
pub(super) fn source_failed(what: &str, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::InvalidData => codes::DIGEST_MISMATCH,
        _ => codes::IO,
    };
    Error::new(code, format!("cannot read {what}: {}", diagnostic::plain(error)))
}

enum Failure {
    Source(io::Error),
    Damaged(io::Error),
    TooLarge(u64),
    Stopped(Error),
}

impl Failure {
    fn say(self, what: &str) -> Error {
        let refused = |why: String| Error::new(codes::ARCHIVE_INVALID, format!("{what} is refused: {why}"));
        match self {
            Failure::Source(error) => source_failed(what, &error),
            Failure::Damaged(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                refused("its compressed data is truncated".to_owned())
            }
            Failure::Damaged(error) => {
                refused(format!("its compressed data is damaged: {}", printable(&diagnostic::plain(&error))))
            }
            Failure::TooLarge(limit) => refused(format!("it unpacks to more than the {limit} bytes that are allowed")),
            Failure::Stopped(error) => error,
        }
    }
}

fn produce(
    source: Box<dyn Read + Send>,
    compression: Compression,
    budget: u64,
    sender: &SyncSender<Vec<u8>>,
    used: &Receiver<Vec<u8>>,
) -> Result<u64, Failure> {
    let source = BufReader::with_capacity(PIECE, Source(source));
    let mut reader: Box<dyn Read> = match compression {
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(source).map_err(Failure::Damaged)?;
            decoder.window_log_max(WINDOW_LOG).map_err(Failure::Damaged)?;
            Box::new(decoder)
        }
        Compression::Gzip => Box::new(MultiGzDecoder::new(source)),
    };
    let mut length = 0;
    loop {
        interrupt::check().map_err(Failure::Stopped)?;
        // Fresh memory costs more than it does to fill it.
        let mut piece = used.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
        piece.clear();
        let n = (&mut reader).take(PIECE as u64).read_to_end(&mut piece).map_err(sort)?;
        if n == 0 {
            return Ok(length);
        }
        length += n as u64;
        if length > budget {
            return Err(Failure::TooLarge(budget));
        }
        if sender.send(piece).is_err() {
            // The consumer has failed, and says why.
            return Ok(length);
        }
    }
}

/// Whether a failing decoder is to blame or what it reads from.
fn sort(error: io::Error) -> Failure {
    match error.downcast::<FromSource>() {
        Ok(FromSource(error)) => Failure::Source(error),
        Err(error) => Failure::Damaged(error),
    }
}

/// Marks the errors of the reader that the caller has given.
struct Source(Box<dyn Read + Send>);

#[derive(Debug)]
struct FromSource(io::Error);

impl fmt::Display for FromSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for FromSource {}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let kind = error.kind();
                Err(io::Error::new(kind, FromSource(error)))
            }
            result => result,
        }
    }
}

/// What the producer has sent, as a reader. Ends when the producer does, for whatever reason.
///
/// It is hashed on this side: decompressing takes about as long as hashing, sorting and writing what came out.
struct Pieces {
    receiver: Receiver<Vec<u8>>,
    /// Takes pieces that were read, to be filled again.
    back: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    hasher: Sha256,
}

impl Pieces {
    /// The digest of all that was read; lets the producer go, should it still want to send.
    fn finish(self) -> Digest {
        Digest::new(Sha256Digest::new(self.hasher.finalize().into()))
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let Ok(piece) = self.receiver.recv() else { return Ok(0) };
            self.hasher.update(&piece);
            // Nobody takes it when the producer has ended.
            let _ = self.back.send(replace(&mut self.piece, piece));
            self.at = 0;
        }
        let n = buffer.len().min(self.piece.len() - self.at);
        buffer[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
