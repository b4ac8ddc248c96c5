//! Which threads of llama-server compute: what /proc says, not what it was told.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::Pid;

use crate::http;

/// A thread computes when it has this share of the busiest thread's time.
const SHARE: f64 = 0.2;
/// Enough for a hundredth of a second of CPU time to be small beside it.
const LEAST_TICKS: u64 = 30;

const BODY: &str = r#"{"prompt":"hello","n_predict":1000,"ignore_eos":true,"cache_prompt":false}"#;

/// Threads that took part in generating: it generates until the busiest one has run for a while.
pub(crate) fn computing(server: Pid, port: u16) -> usize {
    let before = ticks(server);
    for _ in 0..200 {
        // In one piece: a stream keeps a thread of the HTTP server busy.
        let (status, _) = http::request(port, "POST", "/completion", BODY).unwrap();
        assert_eq!(status, 200);
        let spent: Vec<u64> = ticks(server)
            .into_iter()
            .map(|(thread, ticks)| ticks - before.get(&thread).copied().unwrap_or(0))
            .collect();
        let most = spent.iter().copied().max().unwrap_or(0);
        if most >= LEAST_TICKS {
            return spent.iter().filter(|ticks| **ticks as f64 >= most as f64 * SHARE).count();
        }
    }
    panic!("no thread of llama-server has computed");
}

/// The CPU time of every thread of a process.
fn ticks(process: Pid) -> BTreeMap<String, u64> {
    let dir = format!("/proc/{}/task", process.as_raw_nonzero());
    let mut times = BTreeMap::new();
    for thread in fs::read_dir(dir).unwrap().flatten() {
        // A thread of the HTTP server may have ended.
        let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else { continue };
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let time = |at: usize| fields[at].parse::<u64>().unwrap();
        times.insert(thread.file_name().into_string().unwrap(), time(11) + time(12));
    }
    times
}
