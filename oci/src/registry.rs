//! One repository of a registry, spoken to over HTTP.
//!
//! Over `reqwest`, not `oci-client`, which (0.18)
//! * reads manifests, referrers and tokens into memory without a bound;
//! * drops the headers of refusals, so that `Retry-After` is lost, and tells a failing token server like a wrong password;
//! * swallows failures while it gets a token, and then asks anonymously;
//! * takes any refusal while it lists referrers for "there are none", which for a signature must not be mixed up;
//! * does not look at `Content-Range`, and would wait for ever or be cut off by its read timeout in a long upload;
//!
//! so that nothing but one `POST` and one `PUT` would be left to it.

mod auth;
mod http;
mod upload;

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use futures_util::future::{Either, select};
use process::interrupt;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, RANGE};

use crate::media_type::IMAGE_INDEX;
use crate::model::{invalid, printable};
use crate::reference::{RegistryReference, is_host, is_repository};
use crate::retry::{Failure, persist};
use crate::{Credentials, Descriptor, Digest, Document, Index, Limits, MANIFEST_LIMIT};

pub(crate) use auth::Scope;
pub(crate) use http::reason;

/// How often waiting work looks for Ctrl-C.
const POLL: Duration = Duration::from_millis(50);
/// Pages of a list of referrers.
const PAGES: usize = 16;
/// Every type of manifest and index that we understand.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Where to ask instead of the registry that a reference names: `HOST[/PREFIX]`.
///
/// `ghcr.io/owner/name` is then asked for as `HOST/PREFIX/owner/name`. Digests are checked as ever, and what is reported
/// and recorded keeps the name of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    host: String,
    prefix: String,
}

impl FromStr for Mirror {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mirror> {
        let (host, prefix) = text.trim_end_matches('/').split_once('/').unwrap_or((text.trim_end_matches('/'), ""));
        if !is_host(host) || !(prefix.is_empty() || is_repository(prefix)) {
            let message = format!("`{}` is not a mirror of a registry", printable(text));
            return Err(Error::new(codes::REFERENCE_INVALID, message)
                .hint("write `HOST` or `HOST/PREFIX`, without a scheme, for example `mirror.example.org/ghcr`"));
        }
        Ok(Mirror { host: host.to_owned(), prefix: prefix.to_owned() })
    }
}

/// A repository of a registry.
pub struct Registry {
    name: RegistryReference,
    /// Where requests go: the reference's host and repository, or a mirror's.
    host: String,
    repository: String,
    credentials: Credentials,
    limits: Limits,
    http: reqwest::Client,
    access: auth::Access,
    /// For long requests; made when first needed, since each reads every root certificate of the system.
    uploads: OnceLock<reqwest::Client>,
    /// Taken only when we are dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({} at {})", self.name, self.host)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A name that is just being looked up must not hold us after Ctrl-C.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Registry {
    /// Prepares to speak with a registry; nothing is sent yet. Plain HTTP is spoken only to loopback hosts.
    ///
    /// # Errors
    /// TLS or the runtime cannot be set up.
    pub fn open(
        name: &RegistryReference,
        mirror: Option<&Mirror>,
        credentials: Credentials,
        limits: Limits,
    ) -> Result<Registry> {
        let (host, repository) = match mirror {
            None => (name.host.clone(), name.repository.clone()),
            Some(Mirror { host, prefix }) if prefix.is_empty() => (host.clone(), name.repository.clone()),
            Some(Mirror { host, prefix }) => (host.clone(), format!("{prefix}/{}", name.repository)),
        };
        // Docker's registry answers under another name than the one by which everybody calls it.
        let host = if host == "docker.io" { "index.docker.io".to_owned() } else { host };
        let http = http::client(&host, &limits, Some(limits.read))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            Error::new(codes::REGISTRY_FAILED, format!("cannot start to speak HTTP: {}", diagnostic::plain(&error)))
                .source(error)
        })?;
        let (name, access) = (name.clone(), auth::Access::default());
        let uploads = OnceLock::new();
        Ok(Registry { name, host, repository, credentials, limits, http, access, uploads, runtime: Some(runtime) })
    }

    /// The reference that this was opened for.
    pub fn name(&self) -> &RegistryReference {
        &self.name
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits for asynchronous work, or for Ctrl-C.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime = self.runtime.as_ref().expect("it is taken only when we are dropped");
        let watch = async {
            loop {
                interrupt::check()?;
                tokio::time::sleep(POLL).await;
            }
        };
        runtime.block_on(async {
            match select(pin!(work), pin!(watch)).await {
                Either::Left((done, _)) => done,
                Either::Right((interrupted, _)) => interrupted,
            }
        })
    }

    /// The manifest or index with a tag or digest, as it was sent, and the type that was told with it.
    ///
    /// # Errors
    /// [`codes::NOT_FOUND`], [`codes::REGISTRY_REFUSED`], [`codes::REGISTRY_FAILED`]; [`codes::DIGEST_MISMATCH`] when it is
    /// not what its name or the registry's own header says.
    pub(crate) fn manifest(&self, which: &str, scope: Scope) -> Result<(Vec<u8>, Option<String>)> {
        let path = format!("manifests/{which}");
        let what = self.called(which);
        self.wait(persist(&self.limits, &format!("cannot read {what}"), async || {
            let response = self.send(scope, |http| http.get(self.url(&path)).header(ACCEPT, ACCEPTED)).await?;
            let response = self.expect(response, &what, &[StatusCode::OK]).await?;
            let told = http::text_header(&response, CONTENT_TYPE);
            let named = http::text_header(&response, "docker-content-digest");
            let bytes = http::body(response, MANIFEST_LIMIT, &what).await?;
            let actual = Digest::of(&bytes);
            let expected = which.parse::<Digest>().ok().or_else(|| named?.parse().ok());
            if let Some(expected) = expected.filter(|expected| *expected != actual) {
                return Err(mismatch(&what, &expected, &actual).into());
            }
            // A generic type says nothing; the content will.
            let told = told.and_then(|told| Some(told.split(';').next()?.trim().to_owned()));
            Ok((bytes, told.filter(|told| !matches!(told.as_str(), "application/json" | "text/plain"))))
        }))
    }

    /// As [`Registry::manifest`]; nothing when there is none.
    pub(crate) fn manifest_if_any(&self, which: &str, scope: Scope) -> Result<Option<(Vec<u8>, Option<String>)>> {
        match self.manifest(which, scope) {
            Err(error) if error.code() == codes::NOT_FOUND => Ok(None),
            found => found.map(Some),
        }
    }

    /// A small blob, whole and verified.
    pub(crate) fn blob(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        let what = format!("blob `{}` of `{}`", blob.digest, self.name);
        if blob.size > limit {
            return Err(invalid(&what, &format!("it has {} bytes, more than {limit}", blob.size)));
        }
        self.wait(persist(&self.limits, &format!("cannot read {what}"), async || {
            let response = self.send(Scope::Pull, |http| http.get(self.blob_url(&blob.digest))).await?;
            let response = self.expect(response, &what, &[StatusCode::OK]).await?;
            let bytes = http::body(response, blob.size, &what).await?;
            if bytes.len() as u64 != blob.size {
                return Err(Failure::again("the connection broke off"));
            }
            let actual = Digest::of(&bytes);
            if actual == blob.digest { Ok(bytes) } else { Err(mismatch(&what, &blob.digest, &actual).into()) }
        }))
    }

    /// What refers to a digest, by the referrers API and the fallback tag: where the API is there, what older tools pushed or
    /// copied may still be behind the tag alone. Nothing is filtered: the list behind the tag often tells no or another
    /// artefact type than the manifest itself.
    ///
    /// # Errors
    /// As [`Registry::manifest`]; that there is nothing is no error.
    pub(crate) fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let mut found = self.referrers_by_api(subject)?.unwrap_or_default();
        let tagged = self.fallback_index(subject, Scope::Pull)?.map_or_else(Vec::new, |index| index.manifests);
        found.extend(tagged);
        let mut seen = HashSet::new();
        found.retain(|one| seen.insert(one.digest));
        Ok(found)
    }

    /// What the referrers API says; nothing when the registry has none.
    pub(crate) fn referrers_by_api(&self, subject: &Digest) -> Result<Option<Vec<Descriptor>>> {
        let what = format!("the referrers of `{subject}` in `{}`", self.called_repository());
        let mut found = Vec::new();
        let mut next = Some(self.url(&format!("referrers/{subject}")));
        for _ in 0..PAGES {
            let Some(url) = next.take() else { return Ok(Some(found)) };
            let page = self.wait(persist(&self.limits, &format!("cannot read {what}"), async || {
                let response = self.send(Scope::Pull, |http| http.get(&url).header(ACCEPT, IMAGE_INDEX)).await?;
                let status = response.status();
                let is_answer = http::text_header(&response, CONTENT_TYPE).is_some_and(|told| told.contains("json"));
                if status == StatusCode::OK && !is_answer {
                    // A page for people.
                    return Ok(None);
                }
                if lacks_api(status) {
                    return Ok(None);
                }
                let response = self.expect(response, &what, &[StatusCode::OK]).await?;
                let link = self.next_page(&response, &what)?;
                Ok(Some((http::body(response, MANIFEST_LIMIT, &what).await?, link)))
            }))?;
            let Some((bytes, link)) = page else { return Ok(None) };
            found.extend(Index::parse(&bytes, &what)?.manifests);
            next = link;
        }
        Err(invalid(&what, "there are too many of them"))
    }

    /// The list behind the fallback tag of a digest.
    pub(crate) fn fallback_index(&self, subject: &Digest, scope: Scope) -> Result<Option<Index>> {
        let tag = subject.fallback_tag();
        let Some((bytes, told)) = self.manifest_if_any(&tag, scope)? else { return Ok(None) };
        let what = self.called(&tag);
        match Document::parse(&bytes, told.as_deref(), &what)? {
            Document::Index(index) => Ok(Some(index)),
            Document::Manifest(_) => Err(invalid(&what, "it is a manifest where a list of referrers is needed")),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}/v2/{}/{path}", http::scheme(&self.host), self.host, self.repository)
    }

    pub(crate) fn blob_url(&self, digest: &Digest) -> String {
        self.url(&format!("blobs/{digest}"))
    }

    /// The repository by the name that people know, without tag and digest.
    pub(crate) fn called_repository(&self) -> String {
        format!("{}/{}", self.name.host, self.name.repository)
    }

    /// A manifest by the name that people know.
    pub(crate) fn called(&self, which: &str) -> String {
        let joint = if which.contains(':') { '@' } else { ':' };
        format!("`{}{joint}{which}`", self.called_repository())
    }
}

/// Whether a registry means by this status that it has no referrers API. What may be about us, or pass, is not taken for
/// that: "there is no signature" must not be what a registry says by being busy.
fn lacks_api(status: StatusCode) -> bool {
    let is_other = matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
    );
    status == StatusCode::NOT_IMPLEMENTED || (status.is_client_error() && !is_other)
}

pub(crate) fn mismatch(what: &str, expected: &Digest, actual: &Digest) -> Error {
    let message = format!("{what} has the digest `{actual}`, but `{expected}` is expected");
    Error::new(codes::DIGEST_MISMATCH, message).hint("it was changed on its way or at its source; it was dropped")
}

/// Range and its answer.
pub(crate) mod range {
    use super::{CONTENT_RANGE, RANGE, http};
    use reqwest::{RequestBuilder, Response};

    /// Asks for all from an offset on.
    pub(crate) fn ask(request: RequestBuilder, from: u64) -> RequestBuilder {
        if from == 0 { request } else { request.header(RANGE, format!("bytes={from}-")) }
    }

    /// Where a partial answer starts and how long the whole is: `bytes 5-9/10` is `(5, Some(10))`.
    pub(crate) fn answer(response: &Response) -> Option<(u64, Option<u64>)> {
        let text = http::text_header(response, CONTENT_RANGE)?;
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        Some((range.split('-').next()?.trim().parse().ok()?, total.trim().parse().ok()))
    }
}
