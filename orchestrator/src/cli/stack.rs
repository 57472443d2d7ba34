//! `wallaroo-orch stack`.

use clap::Args;

use super::control::{ControlArgs, print_json};
use super::error::CliError;
use crate::cli::terminal;
use crate::control::report::WorkerStack;

/// Arguments of `wallaroo-orch stack`.
#[derive(Debug, Args)]
pub(super) struct StackArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Process id of a worker, as `status` shows it [default: all workers]
    #[arg(value_name = "PID")]
    pid: Option<i32>,
}

/// Prints the Python stacks of workers.
pub(super) async fn run(args: StackArgs) -> Result<(), CliError> {
    let route = args.pid.map_or_else(|| "/v1/stacks".to_owned(), |pid| format!("/v1/stacks?pid={pid}"));
    let stacks: Vec<WorkerStack> = args.control.client().await?.get(&route).await?;
    if args.control.json {
        return Ok(print_json(&stacks)?);
    }
    for WorkerStack { pid, pool, slot, stack } in stacks {
        let seat = slot.map_or_else(|| "standby".to_owned(), |slot| format!("slot {slot}"));
        let seat = pool.map_or_else(|| seat.clone(), |pool| format!("{pool} {seat}"));
        let stack =
            if stack.is_empty() { "(no stack was printed: the worker is loading, or stopped)\n" } else { &stack };
        terminal::line(format_args!("{seat}, pid {pid}:\n{stack}"));
    }
    Ok(())
}
