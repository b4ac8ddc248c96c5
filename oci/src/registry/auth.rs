//! Who we are to the registry: nobody, a user with a password, or the bearer of a token that one of these was given.
//!
//! Nothing is sent until the registry asks. Its challenge names where tokens come from; what it gives is kept for this
//! repository, and asked for again when the registry refuses it, as it does once a token is too old.

use std::time::{Duration, Instant};

use diagnostic::{Error, Result, codes};
use http_auth::parser::ChallengeParser;
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::http::{self, is_private};
use super::{Registry, printable};
use crate::Credentials;
use crate::credentials;
use crate::retry::{Failure, retry_after};

/// Bytes of a token server's answer.
const TOKEN_LIMIT: u64 = 1 << 20;
/// How long a token is good when nothing is said about it, by the specification.
const TOKEN_AGE: Duration = Duration::from_secs(60);

/// What we want to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Pull,
    Push,
}

/// What the registry has granted, per scope.
#[derive(Default)]
pub(super) struct Access {
    pull: Mutex<Granted>,
    push: Mutex<Granted>,
}

/// What a request may carry; numbered, so that of many requests that are refused at once only one asks again.
#[derive(Clone, Default)]
pub(super) struct Granted {
    generation: u64,
    proof: Proof,
}

#[derive(Clone, Default)]
enum Proof {
    #[default]
    None,
    Basic {
        username: String,
        password: String,
    },
    Bearer {
        token: String,
        until: Instant,
    },
}

impl Access {
    pub(super) async fn granted(&self, scope: Scope) -> Granted {
        self.of(scope).lock().await.clone()
    }

    fn of(&self, scope: Scope) -> &Mutex<Granted> {
        match scope {
            Scope::Pull => &self.pull,
            Scope::Push => &self.push,
        }
    }
}

impl Granted {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.proof {
            Proof::None => request,
            Proof::Basic { username, password } => request.basic_auth(username, Some(password)),
            Proof::Bearer { token, .. } => request.bearer_auth(token),
        }
    }

    /// Whether it will last for another request; of nothing we cannot know whether it is enough.
    fn is_fresh(&self) -> bool {
        match self.proof {
            Proof::None => false,
            Proof::Basic { .. } => true,
            Proof::Bearer { until, .. } => Instant::now() < until,
        }
    }
}

impl Registry {
    /// Sees to it that what is granted is fresh, before a request that cannot be repeated; `force` asks again anyway.
    pub(super) async fn log_in(&self, scope: Scope, force: bool) -> Result<(), Failure> {
        let known = self.access.granted(scope).await;
        if !force && known.is_fresh() {
            return Ok(());
        }
        {
            let mut granted = self.access.of(scope).lock().await;
            if !matches!(granted.proof, Proof::None) {
                *granted = Granted { generation: granted.generation + 1, proof: Proof::None };
            }
        }
        let url = format!("{}://{}/v2/", http::scheme(&self.host), self.host);
        let response = self.send(scope, |http| http.get(&url)).await?;
        // Whatever it answers, the request that follows will be told; this one was for the challenge.
        if response.status() == StatusCode::UNAUTHORIZED {
            self.expect(response, "the registry", &[StatusCode::OK]).await?;
        }
        Ok(())
    }

    /// Answers a challenge; whether there is something new to say.
    pub(super) async fn authorise(&self, scope: Scope, refused: u64, challenges: &[String]) -> Result<bool, Failure> {
        let mut granted = self.access.of(scope).lock().await;
        if granted.generation != refused {
            return Ok(true);
        }
        let credentials = match &self.credentials {
            Credentials::Stored => Credentials::find(&self.host, &self.repository, &credentials::files())?,
            given => given.clone(),
        };
        let proof = match challenge(challenges) {
            Some(Challenge::Bearer { realm, service }) => self.token(scope, &realm, service, &credentials).await?,
            Some(Challenge::Basic) => match (credentials, &granted.proof) {
                (Credentials::Basic { username, password }, Proof::None) => Proof::Basic { username, password },
                // It has seen them, or there are none.
                _ => return Ok(false),
            },
            None => return Ok(false),
        };
        *granted = Granted { generation: refused + 1, proof };
        Ok(true)
    }

    /// Asks a token server. Credentials go only to where they cannot be read on the way.
    async fn token(
        &self,
        scope: Scope,
        realm: &str,
        service: Option<String>,
        credentials: &Credentials,
    ) -> Result<Proof, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let failed = |why: &str| Error::new(codes::REGISTRY_FAILED, format!("registry `{}` {why}", self.host));
        let mut url = Url::parse(realm).map_err(|_| failed("names no valid token server"))?;
        if !is_private(&url) {
            return Err(failed("names a token server without encryption").into());
        }
        let actions = match scope {
            Scope::Pull => "pull",
            Scope::Push => "pull,push",
        };
        let wanted = format!("repository:{}:{actions}", self.repository);
        url.query_pairs_mut()
            .extend_pairs(service.iter().map(|service| ("service", service)))
            .append_pair("scope", &wanted);
        let server = url.host_str().unwrap_or_default().to_owned();
        let request = self.http.get(url);
        let request = match credentials {
            Credentials::Basic { username, password } => request.basic_auth(username, Some(password)),
            Credentials::Anonymous | Credentials::Stored => request,
        };
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, after) = (response.status(), retry_after(response.headers()));
        let what = format!("a token of `{}`", printable(&server));
        let body = http::body(response, TOKEN_LIMIT, &what).await?;
        if status != StatusCode::OK {
            let message = http::first_message(&body);
            return Err(match status {
                StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                    let why = if message.is_empty() { String::new() } else { format!(": {message}") };
                    self.refused(&format!(": no token is given{why}")).into()
                }
                _ => self.judge(status, &message, after, true, &what),
            });
        }
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_| failed("has a token server that gives no valid answer"))?;
        let age = answer.expires_in.map_or(TOKEN_AGE, Duration::from_secs).min(Duration::from_secs(3600));
        let token = answer.token.or(answer.access_token).filter(|token| is_token(token));
        let token = token.ok_or_else(|| failed("has a token server that gives no valid token"))?;
        Ok(Proof::Bearer { token, until: Instant::now() + age / 2 })
    }
}

/// Whether it can stand in a header.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// The challenge that we can answer best.
fn challenge(headers: &[String]) -> Option<Challenge> {
    let parsed = headers.iter().flat_map(|header| ChallengeParser::new(header)).filter_map(std::result::Result::ok);
    let mut found = None;
    for challenge in parsed {
        let value = |name: &str| {
            let parameter = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            parameter.map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            if let Some(realm) = value("realm") {
                return Some(Challenge::Bearer { realm, service: value("service") });
            }
        } else if challenge.scheme.eq_ignore_ascii_case("basic") {
            found = Some(Challenge::Basic);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_understood() {
        let of = |text: &str| challenge(&[text.to_owned()]);
        let bearer =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry.example".to_owned()),
        };
        assert_eq!(of(bearer), Some(expected));
        assert_eq!(of(r#"Basic realm="Registry""#), Some(Challenge::Basic));
        assert_eq!(of("Negotiate"), None);
        assert_eq!(of("Bearer"), None);
        assert_eq!(of(""), None);
        assert_eq!(of("\u{7f},,=\""), None);
        let both = challenge(&["Basic realm=\"a\"".to_owned(), "bearer realm=\"https://b\"".to_owned()]);
        assert_eq!(both, Some(Challenge::Bearer { realm: "https://b".to_owned(), service: None }));
    }
}
