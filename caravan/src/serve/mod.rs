//! `caravan serve`: llama-server with the settings that are best here, supervised.
//!
//! | module | job |
//! |---|---|
//! | `auto` | `--auto`: what doctor, plan and validate say |
//! | `given` | what a person has said to llama-server himself |
//! | `plan` | all of it as one plan, with reasons |
//! | `live` | what changes while the server runs |
//! | `supervise` | runs it: signals, draining, its end |

mod auto;
mod given;
mod live;
mod plan;
mod supervise;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use diagnostic::{Error, Result, codes};
use host::Host;
use planner::feasibility::UseCase;

use crate::memory::Model;
use crate::subject::Wanted;
use crate::{environment, installed, ui};
use plan::{Asked, Inputs};

/// Where it listens when nobody says otherwise: nobody else's machine can ask it there.
const HOST: &str = "127.0.0.1";
const PORT: u16 = 8080;

/// Serve a model with this build's llama-server
///
/// Threads, context and caches fit what this process may use: CPU affinity, cgroup quota, memory limit. What was measured
/// on this machine (`cargo xtask tune`) is used. SIGTERM drains: running requests are finished, new ones are refused.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A GGUF file
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Tokens of all requests together; otherwise what the model was trained for, as far as the memory goes
    #[arg(long, value_name = "TOKENS")]
    ctx: Option<u64>,
    /// Threads of both phases; otherwise the job's, those measured, or a heuristic; never more than the CPU budget
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Address to listen on; otherwise `LLAMA_ARG_HOST`, or 127.0.0.1
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port to listen on; otherwise `LLAMA_ARG_PORT`, or 8080
    #[arg(long)]
    port: Option<u16>,
    /// Seconds that running requests have after SIGTERM
    #[arg(long, default_value_t = 25, value_name = "SECONDS")]
    grace: u64,
    /// Answer as `doctor`, set what `plan` says, check it as `validate`, then start
    #[arg(long, requires = "model")]
    auto: bool,
    /// With `--auto`: what it is for, as for `plan`
    #[arg(long, default_value = "general", value_name = "USE", requires = "auto")]
    use_case: UseCase,
    /// With `--auto`: allow a shorter context, and none below this
    #[arg(long, value_name = "TOKENS", requires = "auto")]
    min_ctx: Option<u64>,
    /// With `--auto`: take what fits only when something is given up
    #[arg(long, requires = "auto")]
    accept_degraded: bool,
    /// Start also what does not fit this machine
    #[arg(long)]
    force: bool,
    /// Print the plan and stop
    #[arg(long)]
    print: bool,
    /// Print the plan as JSON and stop
    #[arg(long)]
    json: bool,
    /// For llama-server, as they are; they win over what we would set
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

impl Flags {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let variables = environment::of_process();
        let directory = environment::directory(&variables);
        let inputs = self.inputs(self.overriding(environment::with_directory(&variables, directory.as_deref())))?;
        let plan = plan::plan(&inputs)?;
        if self.json {
            let json = serde_json::to_string_pretty(&plan).expect("a plan holds only strings and numbers");
            ui::print(json)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.print {
            ui::print(plan.to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
        check_address(&plan)?;
        for note in &plan.notes {
            ui::note(note);
        }
        for setting in plan.settings.iter().filter(|setting| setting.name.starts_with("--threads")) {
            ui::note(format!("{} {}: {}", setting.name, setting.value.as_deref().unwrap_or_default(), setting.source));
        }
        let live = plan.threads.map(|threads| live::Threads::new(inputs, variables, directory, threads));
        supervise::run(&plan, live, Duration::from_secs(self.grace))
    }

    /// The variables without those that a flag overrides: images and pods set the address for everybody, and who names another
    /// one must get that.
    fn overriding(&self, mut variables: environment::Variables) -> environment::Variables {
        let overridden = [(self.host.is_some(), "LLAMA_ARG_HOST"), (self.port.is_some(), "LLAMA_ARG_PORT")];
        for (_, name) in overridden.iter().filter(|(given, _)| *given) {
            variables.remove(*name);
        }
        variables
    }

    /// Looks at everything that the plan depends on.
    fn inputs(&self, variables: environment::Variables) -> Result<Inputs> {
        let host = Host::probe();
        let build = installed::find(&variables)?;
        let model = self.model(&variables)?;
        let measured = match &model {
            Some(model) => installed::measured(&build, &host, &model.header, &variables),
            None => None,
        };
        let auto = match self.auto {
            true => auto::decide(&self.wanted(), self.accept_degraded)?,
            false => auto::Decided::default(),
        };
        Ok(Inputs {
            auto,
            build: build.dir,
            info: build.info,
            host,
            measured,
            model,
            variables,
            asked: Asked {
                threads: self.threads,
                ctx: self.ctx,
                host: self.host.clone().unwrap_or_else(|| HOST.to_owned()),
                port: self.port.unwrap_or(PORT),
                force: self.force,
            },
            arguments: self.arguments.clone(),
        })
    }

    /// What `doctor` and `plan` are asked.
    fn wanted(&self) -> Wanted {
        Wanted {
            model: self.model.clone(),
            model_size: None,
            use_case: self.use_case,
            ctx: self.ctx,
            min_ctx: self.min_ctx,
            hardware: "auto".to_owned(),
        }
    }

    /// The model: from `--model`, or from where llama-server would take it.
    fn model(&self, variables: &environment::Variables) -> Result<Option<Model>> {
        let given = given::find("--model", &self.arguments, variables).and_then(|given| given.value).map(PathBuf::from);
        match given.as_ref().or(self.model.as_ref()) {
            Some(path) => Model::open(path).map(Some),
            None if given::names_other_models(&self.arguments, variables) => Ok(None),
            None => Err(Error::new(codes::MODEL_UNREADABLE, "no model is named").hint("give one with `--model FILE`")),
        }
    }
}

/// Refuses an address that another process listens on, before a model is loaded for nothing.
///
/// # Errors
/// [`codes::ADDRESS_UNUSABLE`].
fn check_address(plan: &plan::Plan) -> Result<()> {
    let value = |name: &str| plan.settings.iter().find(|setting| setting.name == name)?.value.as_deref();
    let (Some(host), Some(port)) = (value("--host"), value("--port")) else { return Ok(()) };
    // A path is a socket of its own kind, and port 0 any free one.
    let Some(port) = port.parse::<u16>().ok().filter(|port| *port > 0 && !host.ends_with(".sock")) else {
        return Ok(());
    };
    TcpListener::bind((host, port)).map(drop).map_err(|error| {
        let why = diagnostic::plain(&error);
        Error::new(codes::ADDRESS_UNUSABLE, format!("cannot listen on {host} port {port}: {why}"))
            .hint("`--port` and `--host` take another; port 0 is any free one")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn an_address_that_a_person_names_wins_over_the_variables() {
        let left = |arguments: &[&str]| {
            let variables = [("LLAMA_ARG_HOST", "0.0.0.0"), ("LLAMA_ARG_PORT", "9"), ("LLAMA_ARG_CTX_SIZE", "512")];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let line = Line::parse_from([&["serve"], arguments].concat());
            Vec::from_iter(line.flags.overriding(variables).into_keys()).join(" ")
        };
        assert_eq!(left(&[]), "LLAMA_ARG_CTX_SIZE LLAMA_ARG_HOST LLAMA_ARG_PORT");
        assert_eq!(left(&["--host", "127.0.0.1"]), "LLAMA_ARG_CTX_SIZE LLAMA_ARG_PORT");
        assert_eq!(left(&["--host", "127.0.0.1", "--port", "8080"]), "LLAMA_ARG_CTX_SIZE");
    }
}
