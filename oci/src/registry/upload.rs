//! Writing to a registry: blobs by `oci-client`'s upload sessions, manifests by us.
//!
//! A blob goes in one request (`POST` for a session, one `PUT`), read from disk piece by piece. Chunks would not help: ghcr.io
//! takes at most 4 MiB per `PATCH`, some registries know no chunks at all, others mix up the sessions of several, and the
//! blobs are small enough to be sent again after a cut.

use std::cell::Cell;
use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use diagnostic::{Error, Result, codes};
use futures_util::future::{Either, select};
use futures_util::stream;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;

use super::auth::Proof;
use super::{POLL, Registry, Scope, http, mismatch, printable};
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
            let granted = self.log_in(Scope::Push, log_in_again.take()).await?;
            let failure = match self.upload(granted.proof(), blob, open()?, &mut progress).await {
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
        proof: Proof,
        blob: &Descriptor,
        reader: VerifiedReader,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), Failure> {
        http::install_crypto();
        let config = ClientConfig {
            protocol: if http::scheme(&self.host) == "http" { ClientProtocol::Http } else { ClientProtocol::Https },
            use_monolithic_push: true,
            connect_timeout: Some(self.limits.connect),
            // Its read timeout runs while we send, too; we watch for a standstill ourselves.
            read_timeout: None,
            user_agent: http::USER_AGENT,
            ..ClientConfig::default()
        };
        let client = oci_client::Client::try_from(config).map_err(|error| self.upload_failed(error, blob))?;
        let repository =
            oci_client::Reference::with_tag(self.host.clone(), self.repository.clone(), "latest".to_owned());
        let auth = match proof {
            Proof::None => RegistryAuth::Anonymous,
            Proof::Basic { username, password } => RegistryAuth::Basic(username, password),
            // Given as it is; with a user and a password the client would fetch a token of its own.
            Proof::Bearer { token, .. } => RegistryAuth::Bearer(token),
        };
        client.store_auth_if_needed(repository.resolve_registry(), &auth).await;
        let sent = Arc::new(AtomicU64::new(0));
        let pieces = stream::unfold(Some((reader, Arc::clone(&sent))), async |state| {
            let (mut reader, sent) = state?;
            let mut piece = vec![0; PIECE];
            match read_piece(&mut reader, &mut piece) {
                Ok(0) => None,
                Ok(n) => {
                    piece.truncate(n);
                    sent.fetch_add(n as u64, Ordering::Relaxed);
                    Some((Ok(Bytes::from(piece)), Some((reader, sent))))
                }
                Err(error) => Some((Err(OciDistributionError::IoError(error)), None)),
            }
        });
        let digest = blob.digest.to_string();
        let push = client.push_blob_stream(&repository, pieces, &digest, Some(blob.size));
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
        match select(pin!(push), pin!(watch)).await {
            Either::Left((Ok(_), _)) => {}
            Either::Left((Err(error), _)) => return Err(self.upload_failed(error, blob)),
            Either::Right(((), _)) => {
                return Err(Failure::again(format!("registry `{}` takes nothing more", self.host)));
            }
        }
        progress(blob.size);
        Ok(())
    }

    fn upload_failed(&self, error: OciDistributionError, blob: &Descriptor) -> Failure {
        let what = format!("blob `{}` of `{}`", blob.digest, self.called_repository());
        match error {
            OciDistributionError::ServerError { code, message, .. } => {
                let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let why = http::first_message(message.as_bytes());
                match status {
                    // The session is lost, or bytes were on their way: a new session may do.
                    StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE => {
                        Failure::again(format!("registry `{}` answers HTTP {code}: {why}", self.host))
                    }
                    _ => self.judge(status, &why, None, true, &what),
                }
            }
            OciDistributionError::UnauthorizedError { .. } => self.refused("").into(),
            OciDistributionError::RequestError(error) => match own_failure(&error) {
                Some(io) => crate::layout::read_error(&what, io).into(),
                None => self.unreachable(&error),
            },
            OciDistributionError::IoError(error) => crate::layout::read_error(&what, error).into(),
            other => {
                let message = format!("cannot upload {what}: {}", printable(&other.to_string()));
                Error::new(codes::REGISTRY_FAILED, message).into()
            }
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

/// The failure of our own reader, which ended the request.
fn own_failure(error: &reqwest::Error) -> Option<io::Error> {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        if let Some(OciDistributionError::IoError(own)) = source.downcast_ref() {
            return Some(io::Error::new(own.kind(), own.to_string()));
        }
        cause = source;
    }
    None
}
