//! Limits of downloads from a server beside us.

use std::time::Duration;

use fetch::http::Limits;

pub(crate) const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    read: Duration::from_secs(5),
    attempts: 3,
    backoff: Duration::from_millis(1),
    longest_pause: Duration::from_millis(50),
    whole: Duration::from_secs(30),
    size: 1_000_000,
};
