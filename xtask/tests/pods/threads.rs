//! Which threads of llama-server compute: what /proc says, not what it was told.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::Pid;

use crate::http;

/// A thread computes when it has this share of the busiest thread's time.
const SHARE: f64 = 0.4;
/// Enough for the clock's ticks, hundredths of a second, to be small beside it.
const LEAST_TICKS: u64 = 50;

/// Threads that took part in reading prompts: it reads until the busiest one has run for a while. Prompts, because they keep
/// all threads busy and the server's others idle.
pub(crate) fn computing(server: Pid, port: u16) -> usize {
    let prompt = "once upon a time ".repeat(120);
    let body = format!(r#"{{"prompt":"{prompt}","n_predict":1,"cache_prompt":false}}"#);
    let before = ticks(server);
    for _ in 0..500 {
        let (status, answer) = http::request(port, "POST", "/completion", &body).unwrap();
        assert_eq!(status, 200, "{answer}");
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
