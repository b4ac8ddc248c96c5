//! Writing to a registry.
//!
//! A blob goes in one request (`POST` for a session, one `PUT`), read from disk piece by piece. Chunks would not help: ghcr.io
//! takes at most 4 MiB per `PATCH`, some registries know no chunks at all, others mix up the sessions of several, and the
//! blobs are small enough to be sent again after a cut.

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use diagnostic::{Result, codes};
use futures_util::future::{Either, select};
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, StatusCode, Url};

use super::{POLL, Registry, Scope, http, mismatch};
use crate::retry::{Failure, persist};
use crate::{Descriptor, Digest, VerifiedReader};

/// Bytes that are read from disk at a time.
const PIECE: usize = 256 << 10;
/// A registry may take this many times the read timeout to store what it has received.
const PATIENCE: u32 = 5;

impl Registry {
    /// Whether a blob is there already.
    pub(crate) fn has_blob(&self, blob: &Descriptor) -> Result<bool> {
        let what = format!("blob `{}` of `{}`", blob.digest, self.called_repository());
        self.wait(persist(&self.limits, &format!("cannot look for {what}"), async || {
            let response = self.send(Scope::Push, |http| http.head(self.blob_url(&blob.digest))).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(false);
            }
            self.expect(response, &what, &[StatusCode::OK]).await.map(|_| true)
        }))
    }

    /// Uploads a blob; `open` opens it anew for every try, and `progress` hears the bytes of this try.
    pub(crate) fn push_blob(
        &self,
        blob: &Descriptor,
        mut open: impl FnMut() -> Result<VerifiedReader>,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let what = format!("cannot upload blob `{}` to `{}`", blob.digest, self.called_repository());
        let log_in_again = Cell::new(false);
        let was_refused = Cell::new(false);
        self.wait(persist(&self.limits, &what, async || {
            // A stream cannot be sent twice, so who we are has to be settled before.
            self.log_in(Scope::Push, log_in_again.take()).await?;
            let failure = match self.upload(blob, open()?, &mut progress).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            match failure {
                // A token may have grown too old on the way: once more with a new one.
                Failure::Final(error) if error.code() == codes::REGISTRY_REFUSED && !was_refused.replace(true) => {
                    log_in_again.set(true);
                    Err(Failure::Again { why: error.to_string(), after: Some(Duration::ZERO), progress: false })
                }
                failure => Err(failure),
            }
        }))
    }

    async fn upload(
        &self,
        blob: &Descriptor,
        reader: VerifiedReader,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), Failure> {
        let what = format!("blob `{}` of `{}`", blob.digest, self.called_repository());
        let mut url = self.upload_session(&what).await?;
        url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let sent = Arc::new(AtomicU64::new(0));
        let request = self
            .uploads()?
            .put(url.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, blob.size)
            .body(pieces(reader, Arc::clone(&sent)));
        // Storage elsewhere is not told who we are.
        let request = if self.is_own(&url) { self.access.granted(Scope::Push).await.apply(request) } else { request };
        let watch = async {
            let (mut last, mut since) = (0, Instant::now());
            loop {
                let now = sent.load(Ordering::Relaxed);
                if now != last {
                    (last, since) = (now, Instant::now());
                    progress(now);
                }
                if since.elapsed() > self.limits.read * PATIENCE {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let response = match select(pin!(request.send()), pin!(watch)).await {
            Either::Left((Ok(response), _)) => response,
            Either::Left((Err(error), _)) => {
                return Err(match own_failure(&error) {
                    Some(own) => crate::layout::read_error(&what, own).into(),
                    None => self.unreachable(&error),
                });
            }
            Either::Right(((), _)) => {
                return Err(Failure::again(format!("registry `{}` takes nothing more", self.host)));
            }
        };
        self.expect_upload(response, &what, StatusCode::CREATED).await?;
        progress(blob.size);
        Ok(())
    }

    /// Opens a session; the address that the blob goes to may be relative, carry a query, or lead to another host.
    async fn upload_session(&self, what: &str) -> Result<Url, Failure> {
        let make = |http: &reqwest::Client| http.post(self.url("blobs/uploads/")).header(CONTENT_LENGTH, 0);
        let response = self.send(Scope::Push, make).await?;
        let response = self.expect_upload(response, what, StatusCode::ACCEPTED).await?;
        http::text_header(&response, LOCATION)
            .and_then(|location| response.url().join(&location).ok())
            .filter(http::is_private)
            .ok_or_else(|| Failure::again(format!("registry `{}` gives no valid address to upload to", self.host)))
    }

    async fn expect_upload(
        &self,
        response: reqwest::Response,
        what: &str,
        status: StatusCode,
    ) -> Result<reqwest::Response, Failure> {
        // The session is lost, or bytes were on their way: a new session may do.
        let lost = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::RANGE_NOT_SATISFIABLE];
        let is_lost = lost.contains(&response.status());
        match self.expect(response, what, &[status]).await {
            Err(Failure::Final(error)) if is_lost => Err(Failure::again(error.to_string())),
            other => other,
        }
    }

    /// Stores a manifest or index under a tag or its digest.
    pub(crate) fn put_manifest(&self, which: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let (what, path) = (self.called(which), format!("manifests/{which}"));
        self.wait(persist(&self.limits, &format!("cannot write {what}"), async || {
            let make = |http: &reqwest::Client| {
                http.put(self.url(&path)).header(CONTENT_TYPE, media_type).body(Bytes::copy_from_slice(bytes))
            };
            let response = self.send(Scope::Push, make).await?;
            // Its digest is right, and what it names is there. Registries that another client is writing to at the same time
            // have been seen to deny either: docker-registry on a file system, while a link is being rewritten.
            let status = response.status();
            if matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) {
                return Err(match self.expect(response, &what, &[]).await {
                    Err(Failure::Final(error)) => Failure::again(error.to_string()),
                    Err(again) => again,
                    Ok(_) => Failure::again("the registry gave no answer"),
                });
            }
            let statuses = [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
            let response = self.expect(response, &what, &statuses).await?;
            let stored = http::text_header(&response, "docker-content-digest").and_then(|text| text.parse().ok());
            let own = Digest::of(bytes);
            match stored.filter(|stored| *stored != own) {
                None => Ok(()),
                Some(stored) => Err(mismatch(&what, &own, &stored).into()),
            }
        }))
    }
}

/// Fills a piece as far as the reader goes.
fn read_piece(reader: &mut VerifiedReader, piece: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match reader.read(&mut piece[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// What a reader has, as a body; `sent` counts the bytes that were taken from it.
fn pieces(reader: VerifiedReader, sent: Arc<AtomicU64>) -> Body {
    Body::wrap_stream(stream::unfold(Some((reader, sent)), async |state| {
        let (mut reader, sent) = state?;
        let mut piece = vec![0; PIECE];
        match read_piece(&mut reader, &mut piece) {
            Ok(0) => None,
            Ok(n) => {
                piece.truncate(n);
                sent.fetch_add(n as u64, Ordering::Relaxed);
                Some((Ok(Bytes::from(piece)), Some((reader, sent))))
            }
            Err(error) => Some((Err(OwnFailure(error)), None)),
        }
    }))
}

/// Our reader failed, not the connection.
#[derive(Debug)]
struct OwnFailure(io::Error);

impl fmt::Display for OwnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for OwnFailure {}

/// The failure of our own reader, which ended the request.
fn own_failure(error: &reqwest::Error) -> Option<io::Error> {
    let mut cause: &dyn StdError = error;
    loop {
        if let Some(OwnFailure(own)) = cause.downcast_ref() {
            return Some(io::Error::new(own.kind(), own.to_string()));
        }
        cause = cause.source()?;
    }
}
