//! A `llama-server` on loopback, ended with the test.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::installed::Installed;

pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts the server and waits until it is ready.
    pub(crate) fn start(installed: &Installed, model: &Path) -> Server {
        Server::spawn(installed.tool("llama-server"), model)
    }

    /// Starts a server, perhaps in an emulator, and waits until it is ready.
    pub(crate) fn spawn(mut command: Command, model: &Path) -> Server {
        command.args(["--ctx-size", "512", "-m"]).arg(model);
        Server::run(command)
    }

    /// Starts the server with these words and variables, and waits until it is ready.
    pub(crate) fn start_with(installed: &Installed, words: &[String], variables: &[(&str, &str)]) -> Server {
        let mut command = installed.tool("llama-server");
        command.args(words).envs(variables.iter().copied());
        Server::run(command)
    }

    fn run(mut command: Command) -> Server {
        // Free at this moment; nothing else here takes ports.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = command
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut server = Server { child, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.try_request("GET", "/health", "").is_none_or(|(status, _)| status != 200) {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} ended before it was ready: {ended:?}");
            assert!(Instant::now() < deadline, "the server was not ready within a minute");
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// The CPU variant that the process has mapped; one that was only asked for its score is unmapped again.
    pub(crate) fn loaded_variant(&self) -> String {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.child.id())).unwrap();
        let variant = |line: &str| Some(line.rsplit_once("/libggml-cpu-")?.1.strip_suffix(".so")?.to_owned());
        let found: BTreeSet<String> = maps.lines().filter_map(variant).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().collect()
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.try_request("GET", path, "").expect("the server answers")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.try_request("POST", path, body).expect("the server answers")
    }

    /// One request on a connection of its own; the status and the body.
    fn try_request(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
