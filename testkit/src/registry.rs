//! A real registry: Debian's `docker-registry` on the loopback interface.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The repository that tests use.
pub const REPOSITORY: &str = "owner/artefact";
/// Who may use [`RealRegistry::with_password`].
pub const USER: &str = "caravan";
/// With what.
pub const PASSWORD: &str = "s3cret:with:colons";

/// `caravan` with [`PASSWORD`], hashed by `htpasswd -nbB`.
const HTPASSWD: &str = "caravan:$2y$05$uv5VZ3YKNO.Ajo6t4ugRU.9GdNW0uSARBTXbFEL/u0f617vMIoA5y\n";

/// A running registry with a store of its own; ended when dropped.
pub struct RealRegistry {
    /// Host and port.
    pub host: String,
    child: Child,
    dir: TempDir,
}

impl RealRegistry {
    /// Anybody may do anything.
    pub fn start() -> RealRegistry {
        RealRegistry::start_with("")
    }

    /// Only [`USER`] may do anything.
    pub fn with_password() -> RealRegistry {
        RealRegistry::start_with("auth:\n  htpasswd:\n    realm: test\n    path: HTPASSWD\n")
    }

    fn start_with(more: &str) -> RealRegistry {
        let program = find("docker-registry");
        let dir = tempfile::tempdir().unwrap();
        let htpasswd = dir.path().join("htpasswd");
        fs::write(&htpasswd, HTPASSWD).unwrap();
        // A port that is free now may be taken a moment later: then the registry ends at once, and we take another.
        for _ in 0..5 {
            let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let config = format!(
                "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
                 rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {host}\n  secret: test\n{}",
                dir.path().join("store").display(),
                more.replace("HTPASSWD", htpasswd.to_str().unwrap()),
            );
            let file = dir.path().join("config.yml");
            fs::write(&file, config).unwrap();
            // It ends with us even when we are killed, and `drop` is not run.
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]).arg(&program).arg("serve").arg(&file);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(&host).is_ok() {
                    return RealRegistry { host, child, dir };
                }
                assert!(Instant::now() < deadline, "docker-registry does not listen");
                thread::sleep(Duration::from_millis(10));
            }
        }
        panic!("docker-registry ends as soon as it is started");
    }

    /// Where the registry keeps a blob, by the hexadecimal digits of its SHA-256.
    pub fn blob_path(&self, sha256: &str) -> PathBuf {
        let blobs = self.dir.path().join("store/docker/registry/v2/blobs/sha256");
        blobs.join(&sha256[..2]).join(sha256).join("data")
    }

    /// Stores a manifest as it is, however wrong.
    pub fn put_manifest(&self, which: &str, media_type: &str, content: &[u8]) {
        let path = format!("/v2/{REPOSITORY}/manifests/{which}");
        let (status, body) = request(&self.host, "PUT", &path, &format!("content-type: {media_type}\r\n"), content);
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    }

    /// The status and body of a `GET`.
    pub fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let accept =
            "accept: application/vnd.oci.image.index.v1+json\r\naccept: application/vnd.oci.image.manifest.v1+json\r\n";
        request(&self.host, "GET", &format!("/v2/{REPOSITORY}/{path}"), accept, b"")
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program on `PATH`; the name of its Debian package is its own.
pub fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("`{program}` is missing; install it with: apt-get install {program}"))
}

fn request(host: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nhost: {host}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let mut content = Vec::new();
    reader.read_to_end(&mut content).unwrap();
    (status, content)
}
