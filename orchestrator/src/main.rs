//! The `wallaroo-orch` command: parses its arguments, runs the subcommand, exits with its code.

use std::process::ExitCode;

use wallaroo_orch::cli::{self, Cli};
use wallaroo_orch::worker::process::close_inherited_on_exec;
use wallaroo_orch::{descriptors, signals};

fn main() -> ExitCode {
    signals::reset_inherited();
    close_inherited_on_exec();
    descriptors::raise_limit();
    let cli = Cli::from_arguments();
    // One thread: the engine and the tasks that feed it do not wait for each other's core. Workers are killed when the thread
    // that started them ends, so that thread must live as long as the command.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(cli.execute());
            // A blocked read of standard input must not keep the process alive.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::note(&error.render());
            error.exit_code()
        }
    };
    cli::flush();
    code
}
