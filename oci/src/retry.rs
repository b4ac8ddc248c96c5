//! Trying again: what is worth it, how often, after which pause.

use std::time::Duration;

use build_info::Timestamp;
use diagnostic::{Error, Result, codes};
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How long and how much a registry may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub read: Duration,
    /// Tries without progress, the first included.
    pub attempts: u32,
    /// Pause before the second try; doubles for each further one, less up to a half by chance.
    pub backoff: Duration,
    /// The longest pause, also when a registry asks for more with `Retry-After`.
    pub longest_pause: Duration,
    /// Bytes of all blobs of an artefact together.
    pub bytes: u64,
    /// Blobs that are downloaded at the same time.
    pub parallel: usize,
}

impl Limits {
    /// For use by people: a minute without any progress is survived, an outage is not waited for.
    pub const USUAL: Limits = Limits {
        connect: Duration::from_secs(30),
        read: Duration::from_secs(60),
        attempts: 6,
        backoff: Duration::from_secs(1),
        longest_pause: Duration::from_secs(60),
        bytes: 64 << 30,
        parallel: 4,
    };
}

/// Why a try failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Trying again cannot help.
    Final(Error),
    /// Trying again may help.
    Again {
        /// What happened, in words.
        why: String,
        /// The pause that the registry asked for.
        after: Option<Duration>,
        /// Whether the try brought us nearer to the end; then it is not charged.
        progress: bool,
    },
}

impl Failure {
    pub(crate) fn again(why: impl Into<String>) -> Failure {
        Failure::Again { why: why.into(), after: None, progress: false }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

/// Tries until it works, cannot work, or the tries are used up; `what` is a verb phrase such as `cannot read ...`.
pub(crate) async fn persist<T>(
    limits: &Limits,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T> {
    let mut tries = 0;
    loop {
        let (why, after, progress) = match attempt().await {
            Ok(done) => return Ok(done),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again { why, after, progress }) => (why, after, progress),
        };
        tries = if progress { 1 } else { tries + 1 };
        if tries >= limits.attempts.max(1) {
            let tried = if tries == 1 { String::new() } else { format!(" ({tries} tries)") };
            return Err(Error::new(codes::REGISTRY_FAILED, format!("{what}: {why}{tried}")));
        }
        tokio::time::sleep(pause(limits, tries, after)).await;
    }
}

/// The pause after so many failed tries. Chance keeps many machines from coming back at the same moment.
fn pause(limits: &Limits, tries: u32, after: Option<Duration>) -> Duration {
    let backoff = limits.backoff.saturating_mul(1 << (tries - 1).min(16)).min(limits.longest_pause);
    after.unwrap_or_else(|| backoff.mul_f64(0.5 + fastrand::f64() / 2.0)).min(limits.longest_pause)
}

/// `Retry-After`, in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        attempts: 3,
        backoff: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        ..Limits::USUAL
    };

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn header(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())])
    }

    #[test]
    fn tries_are_charged_only_without_progress() {
        let mut tried = 0;
        let error = run(persist(&LIMITS, "cannot read it", async || {
            tried += 1;
            Err::<(), _>(Failure::Again { why: "cut".to_owned(), after: None, progress: tried <= 10 })
        }))
        .unwrap_err();
        assert_eq!(tried, 12);
        assert_eq!(error.code(), codes::REGISTRY_FAILED);
        assert_eq!(error.to_string(), "cannot read it: cut (3 tries)");
    }

    #[test]
    fn what_is_final_is_not_tried_again() {
        let mut tried = 0;
        let error = run(persist(&LIMITS, "cannot read it", async || {
            tried += 1;
            Err::<(), _>(Failure::Final(Error::new(codes::NOT_FOUND, "gone")))
        }))
        .unwrap_err();
        assert_eq!((tried, error.code()), (1, codes::NOT_FOUND));
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let limits = Limits { backoff: Duration::from_secs(1), longest_pause: Duration::from_secs(10), ..LIMITS };
        for (tries, longest) in [(1, 1), (2, 2), (4, 8), (5, 10), (40, 10)] {
            let found = pause(&limits, tries, None);
            let longest = Duration::from_secs(longest);
            assert!(found >= longest / 2 && found <= longest, "{tries}: {found:?}");
        }
        assert_eq!(pause(&limits, 1, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(pause(&limits, 1, Some(Duration::MAX)), limits.longest_pause);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(&header("7")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&header("Wed, 21 Oct 2015 07:28:00 GMT")), Some(Duration::ZERO));
        let far = retry_after(&header("Wed, 21 Oct 2499 07:28:00 GMT")).unwrap();
        assert!(far > Duration::from_secs(1 << 30), "{far:?}");
        assert_eq!(retry_after(&header("soon")), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
