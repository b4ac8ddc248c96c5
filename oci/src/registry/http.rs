//! Requests and answers: what is sent, what an answer means.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Once;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use reqwest::header::{ACCEPT_ENCODING, AsHeaderName, LINK, WWW_AUTHENTICATE};
use reqwest::redirect::{self, Policy};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use super::Registry;
use super::auth::Scope;
use crate::Limits;
use crate::model::{invalid, printable};
use crate::retry::{Failure, retry_after};

const REDIRECTS: usize = 5;
/// Bytes of an error's explanation that are read.
const EXPLANATION_LIMIT: u64 = 64 << 10;

/// A client; `patience` is how long the registry may be silent, also while we send.
pub(super) fn client(host: &str, limits: &Limits, patience: Option<Duration>) -> Result<Client> {
    install_crypto();
    // Reqwest itself takes `Authorization` away when a redirect leads to another host, port or scheme.
    let policy = Policy::custom(|attempt: redirect::Attempt<'_>| {
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if is_private(attempt.url()) {
            attempt.follow()
        } else {
            attempt.error("a redirect leads to plain HTTP")
        }
    });
    let builder =
        Client::builder().user_agent(USER_AGENT).connect_timeout(limits.connect).redirect(policy).referer(false);
    let builder = match patience {
        Some(patience) => builder.read_timeout(patience),
        None => builder,
    };
    // A proxy could not reach what is on this machine.
    let builder = if is_loopback(host) { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| {
        Error::new(codes::REGISTRY_FAILED, format!("cannot speak HTTP: {}", reason(&error))).source(error)
    })
}

const USER_AGENT: &str = concat!("caravan/", env!("CARGO_PKG_VERSION"));

fn install_crypto() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Fails when the program has chosen a provider of its own, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Plain HTTP never leaves this machine.
pub(super) fn scheme(host: &str) -> &'static str {
    if is_loopback(host) { "http" } else { "https" }
}

/// Whether what is sent to this address cannot be read on the way.
pub(super) fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && url.host_str().is_some_and(is_loopback))
}

/// Whether a host, with or without port, is this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

impl Registry {
    /// Sends a request with what we may say about us, once more with a new token when the old one is refused.
    pub(crate) async fn send(
        &self,
        scope: Scope,
        make: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let mut is_second = false;
        loop {
            let granted = self.access.granted(scope).await;
            let request = granted.apply(make(&self.http).header(ACCEPT_ENCODING, "identity"));
            let response = request.send().await.map_err(|error| self.unreachable(&error))?;
            if response.status() != StatusCode::UNAUTHORIZED || is_second || !self.is_ours(&response) {
                return Ok(response);
            }
            let challenges: Vec<String> = response
                .headers()
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| Some(value.to_str().ok()?.to_owned()))
                .collect();
            if !self.authorise(scope, granted.generation(), &challenges).await? {
                return Ok(response);
            }
            is_second = true;
        }
    }

    /// Turns an answer with another status than these into a failure.
    pub(crate) async fn expect(
        &self,
        response: Response,
        what: &str,
        statuses: &[StatusCode],
    ) -> Result<Response, Failure> {
        let status = response.status();
        if statuses.contains(&status) {
            return Ok(response);
        }
        let (is_ours, after) = (self.is_ours(&response), retry_after(response.headers()));
        let why = explanation(response).await;
        Err(self.judge(status, &why, after, is_ours, what))
    }

    /// What a status means; `why` is the registry's explanation, if any.
    pub(super) fn judge(
        &self,
        status: StatusCode,
        why: &str,
        after: Option<Duration>,
        is_ours: bool,
        what: &str,
    ) -> Failure {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {}
            _ if status.is_server_error() => {}
            // Some registries say "too fast" in this way.
            StatusCode::FORBIDDEN if after.is_some() => {}
            // The address of a blob that a registry gives away is good for some minutes: ask it for a fresh one.
            _ if !is_ours => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return self.refused(&why).into(),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Error::new(codes::NOT_FOUND, format!("{what} does not exist{why}")).into();
            }
            _ => {
                let message = format!("{what}: registry `{}` answers HTTP {}{why}", self.host, status.as_u16());
                return Error::new(codes::REGISTRY_FAILED, message).into();
            }
        }
        let why = format!("registry `{}` answers HTTP {}{why}", self.host, status.as_u16());
        Failure::Again { why, after, progress: false }
    }

    /// The error of credentials that are missing or not enough; `why` is empty or begins with a colon.
    pub(super) fn refused(&self, why: &str) -> Error {
        let message = format!("registry `{}` refuses access to `{}`{why}", self.host, self.called_repository());
        Error::new(codes::REGISTRY_REFUSED, message)
            .hint(format!("log in with `docker login {0}` or `podman login {0}`", self.host))
            .hint("a repository that does not exist is refused in the same way")
    }

    /// Whether an answer comes from the registry itself, not from where it redirected us to.
    fn is_ours(&self, response: &Response) -> bool {
        self.is_own(response.url())
    }

    /// Whether an address is the registry's own.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        Url::parse(&format!("{}://{}/", scheme(&self.host), self.host)).is_ok_and(|own| own.origin() == url.origin())
    }

    /// The address of the next page of a list: `Link: <...>; rel="next"`; nothing when this is the last.
    ///
    /// What we say about us goes there, so it must be the registry's own, and the registry itself must have named it. Anything
    /// else is an error: a list that silently ends early could lack a signature.
    pub(super) fn next_page(&self, response: &Response, what: &str) -> Result<Option<String>, Failure> {
        let Some(text) = text_header(response, LINK) else { return Ok(None) };
        let link = text.trim().strip_prefix('<').and_then(|rest| rest.split_once('>'));
        if link.is_some_and(|(_, rest)| !rest.contains("next")) {
            return Ok(None);
        }
        let url = link.and_then(|(address, _)| response.url().join(address).ok());
        match url.filter(|url| self.is_ours(response) && self.is_own(url)) {
            Some(url) => Ok(Some(url.into())),
            None => {
                let message = format!("{what}: registry `{}` continues them elsewhere", self.host);
                Err(Error::new(codes::REGISTRY_FAILED, message).into())
            }
        }
    }

    /// The client for uploads: how long nothing moves is watched elsewhere.
    pub(super) fn uploads(&self) -> Result<&Client> {
        match self.uploads.get() {
            Some(client) => Ok(client),
            None => {
                let client = client(&self.host, &self.limits, None)?;
                Ok(self.uploads.get_or_init(|| client))
            }
        }
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = reason(error);
        if error.is_builder() || error.is_redirect() {
            return Error::new(codes::REGISTRY_FAILED, format!("registry `{}`: {why}", self.host)).into();
        }
        let host = error.url().and_then(Url::host_str).unwrap_or(&self.host);
        Failure::again(if error.is_connect() {
            format!("cannot connect to `{}`: {why}", printable(host))
        } else {
            format!("the connection to `{}` failed: {why}", printable(host))
        })
    }
}

/// The innermost cause, which says what happened; the outer ones repeat the address.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) => printable(&diagnostic::plain(error)),
        None => printable(&cause.to_string()),
    }
}

/// The body of an answer, which must not be larger than this.
pub(crate) async fn body(mut response: Response, limit: u64, what: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::again(reason(&error)))? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(invalid(what, &format!("it has more than {limit} bytes")).into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

pub(crate) fn text_header(response: &Response, name: impl AsHeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// What a registry says about a failure: its first message, or nothing.
async fn explanation(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > EXPLANATION_LIMIT {
            break;
        }
    }
    first_message(&bytes)
}

/// The first message of an error in the registry's format.
pub(super) fn first_message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else { return String::new() };
    let first = envelope.errors.into_iter().next();
    first
        .map(|entry| printable(if entry.message.is_empty() { &entry.code } else { &entry.message }))
        .unwrap_or_default()
}
