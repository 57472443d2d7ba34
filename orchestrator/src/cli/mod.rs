//! The command line: one module for each subcommand, and how errors are shown. Flags are named nowhere else.

mod changing;
mod check;
mod control;
mod dead_letters;
mod ending;
mod error;
mod graph;
mod init;
mod log_writer;
mod option;
mod pools;
mod receive;
mod run;
mod send;
mod stack;
mod state;
mod status;
mod table;
mod terminal;
mod top;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::worker::guard;

pub use self::error::CliError;
use self::log_writer::LogWriter;
pub use self::log_writer::{flush, note};
use self::option::FieldsWithOption;

/// Runs Python stream processing applications in a pool of worker processes.
#[derive(Debug, Parser)]
#[command(name = "wallaroo-orch", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a new application that runs, and its test
    Init(init::InitArgs),
    /// Run an application until its sources end or it is told to stop
    Run(Box<run::RunArgs>),
    /// Load an application in one worker, print the stages of its topology, and exit
    Check(check::CheckArgs),
    /// Draw an application's topology
    Graph(graph::GraphArgs),
    /// Send each line of a file, or of standard input, to an application as a message
    Send(send::SendArgs),
    /// Listen on a port and print the messages that an application sends there
    Receive(receive::ReceiveArgs),
    /// List, show, resend or drop the messages that could not be processed
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Show, check, export or change the folder of `run --state`
    State(state::StateArgs),
    /// Show the state of a running application
    Status(status::StatusArgs),
    /// Show the state of a running application, updated as it changes
    Top(top::TopArgs),
    /// Change the number of workers of a running application
    Scale(changing::ScaleArgs),
    /// Replace the workers of a running application, to change its interpreter or to reload its code
    Swap(changing::SwapArgs),
    /// Tell a running application to stop reading, finish what it has accepted, and exit
    Drain(ending::EndingArgs),
    /// Tell a running application to exit at once, even if work is unfinished
    Stop(ending::EndingArgs),
    /// Print the Python stacks of the workers of a running application
    Stack(stack::StackArgs),
    /// Kill the remaining workers when the orchestrator has died; the orchestrator starts this
    #[command(name = guard::SUBCOMMAND, hide = true)]
    Guard {
        /// What the tags of the run's workers begin with.
        tag: String,
    },
}

/// The target of the line that sums up a run.
const LAST_LINE: &str = "last_line";

/// Logging options, the same for every subcommand that starts workers.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Format of log lines on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log more; -vv logs everything
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log only errors, what the application writes to standard error or logs as a warning, and the last line of a run that lost
    /// something
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogArgs {
    /// Starts logging to standard error. `WALLAROO_LOG` overrides the level; its syntax is that of `tracing` filters.
    pub fn start(&self) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error,worker=warn,last_line=warn",
            (false, 0) => "info",
            (false, 1) => "debug",
            (false, _) => "trace",
        };
        let filter = EnvFilter::try_from_env("WALLAROO_LOG").unwrap_or_else(|_| EnvFilter::new(level));
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(LogWriter);
        let fields = FieldsWithOption::default();
        match self.log_format {
            LogFormat::Text => {
                subscriber.fmt_fields(fields).with_ansi(terminal::has_colours()).with_target(false).init();
            }
            LogFormat::Json => subscriber.json().flatten_event(true).init(),
        }
    }
}

/// Whether a subcommand has an option of that name.
fn is_option_of(subcommand: &str, word: &str) -> bool {
    let Some(name) = word.strip_prefix("--") else { return false };
    let name = name.split('=').next().unwrap_or(name);
    let command = Cli::command();
    let subcommand = command.find_subcommand(subcommand);
    name == "help" || subcommand.is_some_and(|command| command.get_arguments().any(|arg| arg.get_long() == Some(name)))
}

impl Cli {
    /// Parses the arguments of the process. Exits with a message if they are wrong, or if they ask for help.
    pub fn from_arguments() -> Self {
        let cli = Self::parse();
        if let Some((subcommand, [first, rest @ ..])) = cli.application() {
            if first.starts_with('-') {
                // An unknown option before the application. Parsed so, it gets the usual error.
                let strict = |arg: clap::Arg| arg.trailing_var_arg(false).allow_hyphen_values(false);
                Self::command().mut_subcommand(subcommand, |command| command.mut_arg("app", strict)).get_matches();
            }
            if let Some(option) = rest.iter().find(|word| is_option_of(subcommand, word)) {
                note(&format!(
                    "hint: {option} goes to the application; to set it for wallaroo-orch, put it before {first}\n"
                ));
            }
        }
        cli
    }

    /// The subcommand and the words from the application on, if it takes an application.
    fn application(&self) -> Option<(&'static str, &[String])> {
        match &self.command {
            Command::Run(args) => Some(("run", args.application.words())),
            Command::Check(args) => Some(("check", args.application.words())),
            Command::Graph(args) => Some(("graph", args.application.words())),
            _ => None,
        }
    }

    /// Runs the subcommand.
    pub async fn execute(self) -> Result<(), CliError> {
        self.run_subcommand().await?;
        Ok(terminal::written()?)
    }

    async fn run_subcommand(self) -> Result<(), CliError> {
        match self.command {
            Command::Init(args) => Ok(init::run(&args)?),
            Command::Run(args) => run::run(*args).await,
            Command::Check(args) => check::run(args).await,
            Command::Graph(args) => graph::run(args).await,
            Command::Send(args) => Ok(send::run(args).await?),
            Command::Receive(args) => Ok(receive::run(args).await?),
            Command::DeadLetters(args) => Ok(dead_letters::run(args).await?),
            Command::State(args) => state::run(args).await,
            Command::Status(args) => status::run(args).await,
            Command::Top(args) => top::run(args).await,
            Command::Scale(args) => changing::scale(args).await,
            Command::Swap(args) => changing::swap(args).await,
            Command::Drain(args) => ending::run(args, "/v1/drain").await,
            Command::Stop(args) => ending::run(args, "/v1/stop").await,
            Command::Stack(args) => stack::run(args).await,
            Command::Guard { tag } => Ok(guard::run(&tag)?),
        }
    }
}
