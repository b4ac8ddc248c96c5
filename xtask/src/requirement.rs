//! `--require MODEL[@CTX]`: an installer first asks whether the machine can run what it is wanted for.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use diagnostic::Result;
use fetch::http::{self, Limits, Remote};
use gguf::{Arrays, Header, ModelFiles};
use host::Host;
use planner::described::Described;
use planner::feasibility::{self, Question, UseCase};
use planner::hardware::Hardware;

use crate::ui;

/// What a machine must be able to run.
#[derive(Debug, Args)]
pub(crate) struct RequirementFlags {
    /// Install nothing unless this machine can run a model (a GGUF file, its URL, or a size such as `8B`) with so many tokens:
    /// `8B@32768`
    #[arg(long, value_name = "MODEL[@CTX]")]
    require: Option<Requirement>,
}

/// A model, and the tokens of its context.
#[derive(Debug, Clone, PartialEq)]
struct Requirement {
    model: Model,
    ctx: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
enum Model {
    File(PathBuf),
    Remote(String),
    Described(Described),
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Requirement, String> {
        let (model, ctx) = match text.rsplit_once('@').map(|(model, ctx)| (model, ctx.parse::<u64>())) {
            Some((model, Ok(ctx))) if ctx > 0 => (model, Some(ctx)),
            _ => (text, None),
        };
        let model = match model.parse::<Described>() {
            Ok(described) if !Path::new(model).exists() => Model::Described(described),
            _ if ["https://", "http://"].iter().any(|scheme| model.starts_with(scheme)) => {
                Model::Remote(model.to_owned())
            }
            _ => Model::File(model.into()),
        };
        Ok(Requirement { model, ctx })
    }
}

impl RequirementFlags {
    /// Refuses a machine that cannot run it as it is wanted; our builds compute on the CPU, so GPUs do not count.
    ///
    /// # Errors
    /// [`MODEL_TOO_LARGE`](diagnostic::codes::MODEL_TOO_LARGE) or [`DEGRADED`](diagnostic::codes::DEGRADED), with what would
    /// help; the model cannot be read.
    pub(crate) fn check(&self, host: &Host) -> Result<()> {
        let Some(Requirement { model, ctx }) = &self.require else { return Ok(()) };
        let (header, name) = match model {
            Model::File(path) => (Header::open(path)?, path.display().to_string()),
            Model::Remote(url) => (remote(url, &LIMITS)?, url.clone()),
            Model::Described(described) => (described.header(), described.to_string()),
        };
        let hardware = Hardware::of_host(host, "this machine")?.without_gpus();
        let question = Question { header: &header, use_case: UseCase::General, ctx: *ctx, min_ctx: None };
        let answer =
            feasibility::answer(&question, &hardware).map_err(|error| error.context(format_args!("model `{name}`")))?;
        match answer.refusal(&name, &hardware) {
            Some(refusal) => Err(refusal),
            None => {
                ui::note(format!("required  {name} with {} tokens: {}", answer.breakdown.ctx, answer.sentence()));
                Ok(())
            }
        }
    }
}

/// How long and how much a header may take that lies on a server: as long as a person waits.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    read: Duration::from_secs(30),
    attempts: 3,
    backoff: Duration::from_secs(1),
    longest_pause: Duration::from_secs(30),
    whole: Duration::from_secs(300),
    size: gguf::MAX_HEADER_BYTES,
};

/// The header of a model on a server, of which no more than the headers of its parts is fetched.
fn remote(url: &str, limits: &Limits) -> Result<Header> {
    let open = |part: &str| Remote::open(&http::beside(url, part)?, limits);
    let files = ModelFiles::read(&http::file_name(url)?, Arrays::SHORT, open)?;
    files.check_loadable(url)?;
    Ok(files.header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Requirement {
        text.parse().unwrap()
    }

    #[test]
    fn a_requirement_is_a_file_or_a_size_with_tokens() {
        let described: Described = "8B".parse().unwrap();
        assert_eq!(read("8B@32768"), Requirement { model: Model::Described(described), ctx: Some(32_768) });
        assert_eq!(read("a@b.gguf"), Requirement { model: Model::File("a@b.gguf".into()), ctx: None });
        assert_eq!(read("a.gguf@512"), Requirement { model: Model::File("a.gguf".into()), ctx: Some(512) });
        let url = "https://example.com/@me/a.gguf";
        assert_eq!(read(&format!("{url}@512")), Requirement { model: Model::Remote(url.to_owned()), ctx: Some(512) });
        assert_eq!(read(url), Requirement { model: Model::Remote(url.to_owned()), ctx: None });
    }

    #[test]
    fn a_machine_that_cannot_run_it_is_refused_with_what_would_help() {
        let host = Host::probe();
        let check = |text: &str| RequirementFlags { require: Some(read(text)) }.check(&host);
        assert!(RequirementFlags { require: None }.check(&host).is_ok());
        assert!(check("0.05B@512").is_ok());
        let error = check("1000B@131072").unwrap_err();
        assert_eq!(error.code(), diagnostic::codes::MODEL_TOO_LARGE, "{error}");
        assert!(error.hints().iter().any(|hint| hint.contains("more of memory")), "{:?}", error.hints());
        assert_eq!(check("/no/such.gguf").unwrap_err().code(), diagnostic::codes::MODEL_UNREADABLE);
    }
    #[test]
    fn of_a_model_on_a_server_the_header_is_read() {
        use std::io::{Read, Write};

        let mut model = Vec::new();
        let plan = gguf::model::plan(gguf::model::Shape::Tiny, gguf::model::Quant::F16, 1);
        gguf::model::write(&plan, &mut model, |_| Ok(())).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tiny.gguf", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let count = client.read(&mut request).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", model.len());
            // It hangs up when it has seen enough.
            let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(&model));
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        let header = remote(&url, &LIMITS).unwrap();
        assert_eq!(header.tensors, plan.tensors);
        assert!(server.join().unwrap().to_ascii_lowercase().contains("range: bytes=0-"));
        let gone = remote(&url, &Limits { attempts: 1, ..LIMITS }).unwrap_err();
        assert_eq!(gone.code(), diagnostic::codes::UNREACHABLE, "{gone}");
    }
}
