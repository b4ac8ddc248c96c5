//! `caravan serve` of the installed build: threads, draining, live changes, refusals.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::installed::{Installed, output, text};

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `caravan serve`, and all that it and llama-server have said.
struct Service {
    child: Child,
    port: u16,
    said: Arc<Mutex<String>>,
}

fn caravan(installed: &Installed) -> Command {
    let mut command = installed.tool("caravan");
    for name in ["CARAVAN_THREAD_MODE", "SARAI_THREAD_MODE", "CARAVAN_JOB", "OMP_NUM_THREADS", "ENABLE_BLAS"] {
        command.env_remove(name);
    }
    command.env("CARAVAN_HOME", installed.home()).arg("serve");
    command
}

fn one_b(installed: &Installed) -> PathBuf {
    installed.home().join("models/1b-q4_k_m.gguf")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Service {
    /// Starts it, and does not wait.
    fn spawn(mut command: Command, model: &Path) -> Service {
        let port = free_port();
        command.arg("--model").arg(model).args(["--port", &port.to_string()]);
        // Arguments after `--` come last.
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (heard, stderr) = (Arc::clone(&said), child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = heard.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Service { child, port, said }
    }

    fn start(command: Command, model: &Path) -> Service {
        let mut service = Service::spawn(command, model);
        let deadline = Instant::now() + PATIENCE;
        while service.request("GET", "/health", "").is_none_or(|(status, _)| status != 200) {
            let ended = service.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended before it was ready: {ended:?}\n{}", service.said());
            assert!(Instant::now() < deadline, "not ready within a minute\n{}", service.said());
            thread::sleep(Duration::from_millis(50));
        }
        service
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn hear(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.said().contains(words) {
            assert!(Instant::now() < deadline, "`{words}` was not said within a minute:\n{}", self.said());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// How it ended, and how long that took.
    fn wait(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, start.elapsed());
            }
            assert!(start.elapsed() < PATIENCE, "it did not end within a minute:\n{}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn connect(&self, method: &str, path: &str, body: &str) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .ok()?;
        Some(stream)
    }

    /// One request; status and body.
    fn request(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut response = String::new();
        self.connect(method, path, body)?.read_to_string(&mut response).ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Starts to generate `tokens`, and returns after the first.
    fn generate(&self, tokens: u32) -> BufReader<TcpStream> {
        let body = format!(r#"{{"prompt":"hello","n_predict":{tokens},"stream":true,"ignore_eos":true}}"#);
        let mut stream = BufReader::new(self.connect("POST", "/completion", &body).expect("it answers"));
        let mut line = String::new();
        while !line.starts_with("data: ") {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended before its first token");
        }
        stream
    }

    /// The process id of llama-server.
    fn server(&self) -> u32 {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.trim().parse().expect("one child")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The server notices that its supervisor is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_flag_of_the_plan_is_one_of_llama_servers() {
    let installed = Installed::find();
    let help = output(installed.tool("llama-server").arg("--help"));
    let help = text(&help.stdout) + &text(&help.stderr);
    let planned = output(caravan(&installed).arg("--model").arg(installed.tiny_model()).arg("--json"));
    assert!(planned.status.success(), "{}", text(&planned.stderr));
    let plan: Value = serde_json::from_slice(&planned.stdout).unwrap();
    let settings = plan["settings"].as_array().unwrap();
    for name in settings.iter().map(|setting| setting["name"].as_str().unwrap()) {
        assert!(help.contains(&format!("{name} ")) || help.contains(&format!("{name},")), "{name}");
    }
    for key in ["cpu_budget", "weights_bytes", "kv_cache_bytes", "compute_bytes"] {
        assert!(plan[key].as_u64().unwrap() > 0, "{key}: {plan}");
    }
}

#[test]
fn a_term_signal_lets_running_requests_finish_and_refuses_new_ones() {
    let installed = Installed::find();
    let mut service = Service::start(caravan(&installed), &one_b(&installed));
    let mut stream = service.generate(48);
    service.signal("-TERM");
    service.hear("draining: new requests are refused");
    let (status, body) = service.request("POST", "/completion", r#"{"prompt":"x","n_predict":1}"#).unwrap();
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("shutting down"), "{body}");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let last = rest.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().expect("a last message");
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["stop"], &last["tokens_predicted"]), (&Value::Bool(true), &48.into()), "{last}");
    let (status, _) = service.wait();
    assert_eq!(status.code(), Some(0), "{}", service.said());
}

#[test]
fn the_grace_period_ends_what_does_not_end() {
    let installed = Installed::find();
    let mut command = caravan(&installed);
    command.args(["--grace", "1"]);
    let mut service = Service::start(command, &one_b(&installed));
    let _stream = service.generate(3000);
    service.signal("-TERM");
    let (status, _) = service.wait();
    assert_eq!(status.code(), Some(1), "llama-server's own code: {}", service.said());
    assert!(service.said().contains("the grace period is over"), "{}", service.said());
}

#[test]
fn a_second_signal_ends_at_once() {
    let installed = Installed::find();
    let mut service = Service::start(caravan(&installed), &one_b(&installed));
    let _stream = service.generate(3000);
    service.signal("-TERM");
    service.hear("draining: new requests are refused");
    service.signal("-INT");
    let (status, _) = service.wait();
    assert_eq!(status.code(), Some(1), "{}", service.said());
    assert!(!service.said().contains("the grace period is over"), "{}", service.said());
}

#[test]
fn a_signal_while_the_model_loads_ends_it() {
    let installed = Installed::find();
    let mut service = Service::spawn(caravan(&installed), &one_b(&installed));
    service.hear("--threads");
    service.signal("-TERM");
    let (status, _) = service.wait();
    // Killed by the signal before there was anything to drain, or drained when it had just been loaded.
    assert!([Some(143), Some(0)].contains(&status.code()), "{status}: {}", service.said());
}

#[test]
fn the_server_ends_when_its_supervisor_is_killed() {
    let installed = Installed::find();
    let mut service = Service::start(caravan(&installed), &installed.tiny_model());
    let server = service.server();
    service.child.kill().unwrap();
    service.wait();
    let deadline = Instant::now() + PATIENCE;
    while Path::new(&format!("/proc/{server}")).exists() {
        assert!(Instant::now() < deadline, "llama-server is still there");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn it_ends_with_the_servers_code() {
    let installed = Installed::find();
    let mut service = Service::start(caravan(&installed), &installed.tiny_model());
    let server = service.server().to_string();
    assert!(Command::new("kill").args(["-KILL", &server]).status().unwrap().success());
    assert_eq!(service.wait().0.code(), Some(137), "{}", service.said());
    assert!(service.said().contains("llama-server was killed (SIGKILL)"), "{}", service.said());
}

#[test]
fn threads_follow_a_config_map_while_the_server_runs() {
    let installed = Installed::find();
    let dir = tempfile::tempdir().unwrap();
    // As Kubernetes does it: a directory of files behind a link that is exchanged.
    let publish = |version: &str, threads: &str| {
        let data = dir.path().join(version);
        fs::create_dir(&data).unwrap();
        fs::write(data.join("CODING_THREADS"), threads).unwrap();
        std::os::unix::fs::symlink(version, dir.path().join("..next")).unwrap();
        fs::rename(dir.path().join("..next"), dir.path().join("..data")).unwrap();
    };
    publish("..1", "1");
    std::os::unix::fs::symlink("..data/CODING_THREADS", dir.path().join("CODING_THREADS")).unwrap();
    let mut command = caravan(&installed);
    command.env("CARAVAN_CONFIG_DIR", dir.path()).env("CARAVAN_THREAD_MODE", "auto").env("CARAVAN_JOB", "coding");
    let service = Service::start(command, &installed.tiny_model());
    service.hear("--threads 1: `CODING_THREADS`: 1");

    publish("..2", "2");
    service.hear("threads from the next token on: 2 for generation, 2 for prompts (`CODING_THREADS`: 2)");
    let complete = || service.request("POST", "/completion", r#"{"prompt":"hello","n_predict":8}"#).unwrap();
    assert_eq!(complete().0, 200);
    service.hear("threads: 2 for generation, 2 for prompts");

    publish("..3", "many");
    service.hear("threads stay as they are: `CODING_THREADS` must be a thread count of at least 1, not `many`");
    // Back and forth: a pool is freed only when nobody computes with it.
    for (version, threads) in [("..4", "1"), ("..5", "2"), ("..6", "1")] {
        publish(version, threads);
        service.hear(&format!("threads from the next token on: {threads} for generation"));
        assert_eq!(complete().0, 200);
    }
}

#[test]
fn bad_input_is_refused_before_anything_is_started() {
    let installed = Installed::find();
    let dir = tempfile::tempdir().unwrap();
    let model = installed.tiny_model();
    let model = model.to_str().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let whole = fs::read(model).unwrap();
    let (no_model, cut) = (file("text.gguf", b"not a model"), file("cut.gguf", &whole[..whole.len() / 2]));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let coding = |threads: &'static str| {
        vec![("CARAVAN_THREAD_MODE", "auto"), ("CARAVAN_JOB", "coding"), ("CODING_THREADS", threads)]
    };
    let unknown = vec![("CARAVAN_THREAD_MODE", "auto"), ("CARAVAN_JOB", "cooking"), ("CODING_THREADS", "1")];
    type Case<'a> = (&'a [&'a str], Vec<(&'a str, &'a str)>, i32);
    let cases: &[Case<'_>] = &[
        (&[], vec![], 50),
        (&["--model", "/no/such/model.gguf"], vec![], 50),
        (&["--model", &no_model], vec![], 51),
        (&["--model", &cut], vec![], 51),
        (&["--model", model, "--threads", "0"], vec![], 52),
        (&["--model", model, "--threads", "9999"], vec![], 52),
        (&["--model", model, "--", "-t", "9999"], vec![], 52),
        (&["--model", model], coding("0"), 52),
        (&["--model", model], coding("-1"), 52),
        (&["--model", model], coding("abc"), 52),
        (&["--model", model], coding(""), 52),
        (&["--model", model], unknown, 52),
        (&["--model", model, "--ctx", "900000000"], vec![], 54),
        (&["--model", model, "--port", &port], vec![], 80),
        (&["--model", model], vec![("CARAVAN_BUILD", dir.path().to_str().unwrap())], 40),
    ];
    for (arguments, variables, exit) in cases {
        let done = output(caravan(&installed).args(*arguments).envs(variables.iter().copied()));
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(*exit), "{arguments:?} {variables:?}: {said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("error")).count(), 1, "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("backtrace"), "{arguments:?}: {said}");
    }
    let done = output(caravan(&installed).args(["--model", model, "--print"]).envs(coding("9999")));
    assert!(text(&done.stdout).contains("capped by the CPU budget"), "{}", text(&done.stdout));
}

#[test]
fn a_build_for_another_cpu_is_refused_and_damage_is_named() {
    let installed = Installed::find().copied();
    let info = installed.bin().canonicalize().unwrap().parent().unwrap().join("lib/build_info.json");
    let original = fs::read_to_string(&info).unwrap();
    let model = installed.tiny_model();
    let serve = || output(caravan(&installed).arg("--model").arg(&model).arg("--print"));

    let mut other: Value = serde_json::from_str(&original).unwrap();
    other["cpu_model"] = "A CPU of the Future".into();
    other["cpu_flags"].as_array_mut().unwrap().push("avx9000".into());
    fs::write(&info, other.to_string()).unwrap();
    let refused = serve();
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(53), "{said}");
    assert!(said.contains("compiled for A CPU of the Future") && said.contains("lacks `avx9000`"), "{said}");

    fs::write(&info, &original[..original.len() / 2]).unwrap();
    assert_eq!(serve().status.code(), Some(42));
    fs::write(&info, &original).unwrap();

    let report = output(installed.xtask(&["bench", "--shape", "tiny", "--rounds", "1", "--json", "-"]));
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let host = report["machine"]["fingerprint"].as_str().expect("a fingerprint");
    let tuning = installed.home().join("tuning").join(host);
    fs::create_dir_all(&tuning).unwrap();
    fs::write(tuning.join(format!("{}.json", installed.active_id())), "{").unwrap();
    let done = serve();
    assert!(done.status.success(), "damaged measurements do not stop the service: {}", text(&done.stderr));
    assert!(text(&done.stderr).contains("what was measured is not used"), "{}", text(&done.stderr));
}
