//! The proof that a build works, before it is installed or packed: what people do first with it, and what a wrong link
//! layout breaks first.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diagnostic::{Error, Result, codes};
use gguf::model::{Quant, Shape};
use llama_build::product::TOOLS;
use process::Finished;

use crate::{models, ui};

/// The slowest of these takes a second or two on a fast machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The build answers a prompt on a generated model. `bin` holds its tools.
pub(crate) fn answers(bin: &Path) -> Result<()> {
    let model = models::generated(Shape::Tiny, Quant::Q4KM)?;
    answers_with(bin, &model.path)?;
    ui::note("proven    it answers a prompt on a generated model");
    Ok(())
}

/// Everything: every tool runs, models are loaded, written and refused, and the server answers and refuses.
///
/// # Errors
/// [`codes::GATE_FAILED`], naming the tool and what it did.
pub(crate) fn everything(bin: &Path, page: Page) -> Result<()> {
    let dir =
        tempfile::tempdir().map_err(|error| Error::io("cannot create", Path::new("a temporary directory"), error))?;
    let model = models::generated(Shape::Tiny, Quant::F16)?.path;
    every_tool_runs(bin)?;
    answers_with(bin, &model)?;
    sizes_are_printed(bin, &model)?;
    quantised_models_load(bin, &model, dir.path())?;
    truncated_models_are_refused(bin, &model, dir.path())?;
    the_server_answers_and_refuses(bin, &model, page, dir.path())?;
    ui::note(format!(
        "proven    {} tools run; completion, quantise, fit-params and the server do their work",
        TOOLS.len()
    ));
    Ok(())
}

/// Whether the server's web page is in the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    Inside,
    None,
}

fn tool(bin: &Path, name: &str) -> Command {
    let mut command = Command::new(bin.join(name));
    // A build finds its own libraries.
    command.env_remove("LD_LIBRARY_PATH");
    command
}

fn failed(what: &str, done: &Finished) -> Error {
    Error::new(codes::GATE_FAILED, format!("{what}: {}: {}", done.ended_by(), done.last_words()))
}

fn every_tool_runs(bin: &Path) -> Result<()> {
    for product in TOOLS {
        let done = process::run(tool(bin, product.name).args(product.smoke), TIMEOUT)?;
        if done.status.code() != Some(product.smoke_status) {
            return Err(failed(&format!("`{} {}`", product.name, product.smoke.join(" ")), &done));
        }
    }
    Ok(())
}

fn answers_with(bin: &Path, model: &Path) -> Result<()> {
    let arguments = ["--no-conversation", "--no-display-prompt", "--seed", "1", "-n", "16", "-p", "hello", "-m"];
    let done = process::run(tool(bin, "llama-completion").args(arguments).arg(model), TIMEOUT)?;
    if done.status.success() && !done.stdout.trim().is_empty() {
        return Ok(());
    }
    Err(failed("`llama-completion` does not answer", &done))
}

fn sizes_are_printed(bin: &Path, model: &Path) -> Result<()> {
    let done = process::run(tool(bin, "llama-fit-params").args(["--fit-print", "on", "-m"]).arg(model), TIMEOUT)?;
    if done.status.success() && done.stdout.bytes().any(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(failed("`llama-fit-params --fit-print on` prints no sizes", &done))
}

fn quantised_models_load(bin: &Path, model: &Path, dir: &Path) -> Result<()> {
    let quantised = dir.join("q8_0.gguf");
    let done = process::run(tool(bin, "llama-quantize").arg(model).arg(&quantised).arg("q8_0"), TIMEOUT)?;
    if !done.status.success() {
        return Err(failed("`llama-quantize`", &done));
    }
    answers_with(bin, &quantised)
}

fn truncated_models_are_refused(bin: &Path, model: &Path, dir: &Path) -> Result<()> {
    let truncated = dir.join("truncated.gguf");
    let whole = fs::read(model).map_err(|error| Error::io("cannot read", model, error))?;
    fs::write(&truncated, &whole[..whole.len() / 2]).map_err(|error| Error::io("cannot write", &truncated, error))?;
    let run = |name: &str, arguments: &[&str]| {
        let done = process::run(tool(bin, name).args(arguments).arg("-m").arg(&truncated), TIMEOUT)?;
        if done.status.success() || done.status.signal().is_some() {
            return Err(failed(&format!("`{name}` should refuse a truncated model"), &done));
        }
        Ok(done)
    };
    // It logs on the way how each of its attempts failed; llama-bench keeps to the error itself.
    run("llama-completion", &["--no-conversation", "-n", "1", "-p", "hello"])?;
    let done = run("llama-bench", &[])?;
    match done.stderr.lines().filter(|line| line.to_lowercase().contains("error")).count() {
        1 => Ok(()),
        n => Err(failed(&format!("`llama-bench` should give one error for a truncated model, not {n}"), &done)),
    }
}

fn the_server_answers_and_refuses(bin: &Path, model: &Path, page: Page, dir: &Path) -> Result<()> {
    let server = Server::start(bin, model, dir)?;
    server.expect("POST", "/completion", r#"{"prompt":"hello","n_predict":4}"#, 200, &["\"tokens_predicted\":4"])?;
    // Thrown in one place and caught in another; so does a gcc build of the same commit answer.
    server.expect("POST", "/completion", r#"{"prompt":"hello","n_predict":"four"}"#, 400, &["error"])?;
    // Thrown where schemas become grammars, in the code that tools share.
    let schema = r#"{"prompt":"hello","json_schema":{"type":"string","pattern":"^(a$"}}"#;
    server.expect("POST", "/completion", schema, 400, &["json schema conversion failed", "unbalanced parentheses"])?;
    server.expect("POST", "/completion", r#"{"prompt":"#, 500, &["parse error at line 1"])?;
    // The page is stored compressed, and is given only to those who take it so.
    let (status, texts): (u16, &[&str]) = match page {
        Page::Inside => (200, &["content-type: text/html", "content-encoding: gzip"]),
        Page::None => (404, &[]),
    };
    server.expect("GET", "/", "", status, texts)?;
    server.expect("GET", "/health", "", 200, &["ok"])
}

/// A server on loopback, ended when dropped.
struct Server {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Server {
    fn start(bin: &Path, model: &Path, dir: &Path) -> Result<Server> {
        let no_port = |error| Error::io("cannot take a port on", Path::new("127.0.0.1"), error);
        // Free at this moment; should another program take it in the next, the server says so and ends.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(no_port)?.port();
        let log = dir.join("server.log");
        let output = || File::options().create(true).append(true).open(&log);
        let outputs = output().and_then(|out| Ok((out, output()?)));
        let (out, err) = outputs.map_err(|error| Error::io("cannot write", &log, error))?;
        let child = process::spawn(
            tool(bin, "llama-server")
                .args(["--host", "127.0.0.1", "--ctx-size", "512", "--port", &port.to_string(), "-m"])
                .arg(model)
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(err),
        )?;
        let mut server = Server { child, port, log };
        let deadline = Instant::now() + TIMEOUT;
        while server.request("GET", "/health", "").is_none_or(|(status, _)| status != 200) {
            process::interrupt::check()?;
            let ended = server.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > deadline {
                return Err(server.failed("`llama-server` does not get ready"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn expect(&self, method: &str, path: &str, body: &str, status: u16, texts: &[&str]) -> Result<()> {
        match self.request(method, path, body) {
            Some((found, answer)) => {
                let lower = answer.to_lowercase();
                if found == status && texts.iter().all(|text| lower.contains(text)) {
                    return Ok(());
                }
                let answer = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                let answer: String = answer.chars().filter(|c| !c.is_control()).take(200).collect();
                let texts = texts.join("` and `");
                Err(self.failed(&format!(
                    "`llama-server` answers `{method} {path}` with {found} {answer}; expected {status} with `{texts}`"
                )))
            }
            None => Err(self.failed(&format!("`llama-server` does not answer `{method} {path}`"))),
        }
    }

    /// One request on a connection of its own: the status, and the whole answer.
    fn request(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).ok()?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .ok()?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).ok()?;
        let response = String::from_utf8_lossy(&response).into_owned();
        Some((response.split(' ').nth(1)?.parse().ok()?, response))
    }

    fn failed(&self, what: &str) -> Error {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing").to_owned();
        Error::new(codes::GATE_FAILED, format!("{what}; the last line of its log: {last}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        process::end(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Tools that are one shell script. It is part of the repository and runs what lies beside its name: a file that a test
    /// has just written cannot be run while another thread starts a child.
    struct Tools {
        dir: tempfile::TempDir,
    }

    impl Tools {
        /// Every tool ends as it should when it is asked for its version.
        fn good() -> Tools {
            let tools = Tools { dir: tempfile::tempdir().unwrap() };
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake-tool.sh");
            for product in TOOLS {
                symlink(&script, tools.dir.path().join(product.name)).unwrap();
                tools.does(product.name, &format!("exit {}", product.smoke_status));
            }
            fs::write(tools.model(), "GGUF").unwrap();
            tools
        }

        fn does(&self, tool: &str, script: &str) {
            fs::write(self.dir.path().join(format!("{tool}.does")), script).unwrap();
        }

        fn model(&self) -> PathBuf {
            self.dir.path().join("model.gguf")
        }

        fn refuse(&self, proof: impl Fn(&Path, &Path) -> Result<()>) -> String {
            let error = proof(self.dir.path(), &self.model()).unwrap_err();
            assert_eq!(error.code(), codes::GATE_FAILED, "{error}");
            error.to_string()
        }
    }

    fn refuses_truncated(bin: &Path, model: &Path) -> Result<()> {
        truncated_models_are_refused(bin, model, bin)
    }

    #[test]
    fn a_tool_must_end_as_it_should() {
        let tools = Tools::good();
        every_tool_runs(tools.dir.path()).unwrap();
        for product in TOOLS {
            tools.does(product.name, "echo broken >&2; exit 3");
            let said = tools.refuse(|bin, _| every_tool_runs(bin));
            let call = format!("`{} {}`", product.name, product.smoke.join(" "));
            assert_eq!(said, format!("{call}: exit status 3: broken"));
            tools.does(product.name, &format!("exit {}", product.smoke_status));
        }
        tools.does("llama-cli", "kill -s ILL $$");
        let said = tools.refuse(|bin, _| every_tool_runs(bin));
        assert!(said.starts_with("`llama-cli --version`: signal 4 (SIGILL"), "{said}");
    }

    #[test]
    fn an_empty_answer_is_none() {
        let tools = Tools::good();
        tools.does("llama-completion", "echo hello");
        answers_with(tools.dir.path(), &tools.model()).unwrap();
        for script in ["exit 0", "echo; echo ' '", "echo hello; exit 1"] {
            tools.does("llama-completion", script);
            let said = tools.refuse(answers_with);
            assert!(said.starts_with("`llama-completion` does not answer: exit status "), "{said}");
        }
    }

    #[test]
    fn sizes_are_figures() {
        let tools = Tools::good();
        tools.does("llama-fit-params", "echo 512");
        sizes_are_printed(tools.dir.path(), &tools.model()).unwrap();
        for script in ["echo nothing", "exit 0", "echo 512; exit 1"] {
            tools.does("llama-fit-params", script);
            assert!(tools.refuse(sizes_are_printed).contains("prints no sizes"));
        }
    }

    #[test]
    fn a_truncated_model_must_be_refused_with_one_error() {
        let error = "echo 'error: failed to load' >&2;";
        let refusing = || {
            let tools = Tools::good();
            tools.does("llama-completion", "exit 1");
            tools.does("llama-bench", &format!("echo 'loaded a backend' >&2; {error} exit 1"));
            tools
        };
        let tools = refusing();
        refuses_truncated(tools.dir.path(), &tools.model()).unwrap();
        for (tool, script, why) in [
            ("llama-completion", "exit 0".to_owned(), "`llama-completion` should refuse a truncated model"),
            ("llama-completion", "kill -s SEGV $$".to_owned(), "`llama-completion` should refuse a truncated model"),
            ("llama-bench", "exit 0".to_owned(), "`llama-bench` should refuse a truncated model"),
            ("llama-bench", format!("{error} kill -s ABRT $$"), "`llama-bench` should refuse a truncated model"),
            ("llama-bench", format!("{error} {error} exit 1"), "should give one error for a truncated model, not 2"),
            ("llama-bench", "exit 1".to_owned(), "should give one error for a truncated model, not 0"),
        ] {
            let tools = refusing();
            tools.does(tool, &script);
            let said = tools.refuse(refuses_truncated);
            assert!(said.contains(why), "{script}: {said}");
        }
    }

    #[test]
    fn a_server_that_ends_is_not_waited_for() {
        let tools = Tools::good();
        tools.does("llama-server", "echo 'cannot load the model' >&2; exit 1");
        let said = tools.refuse(|bin, model| the_server_answers_and_refuses(bin, model, Page::None, bin));
        assert_eq!(said, "`llama-server` does not get ready; the last line of its log: cannot load the model");
    }
}
