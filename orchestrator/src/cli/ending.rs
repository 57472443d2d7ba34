//! `wallaroo-orch drain` and `wallaroo-orch stop`.

use clap::Args;

use super::control::{ControlArgs, print_json};
use super::error::CliError;
use crate::control::report::Accepted;

/// Arguments of `wallaroo-orch drain` and `stop`.
#[derive(Debug, Args)]
pub(super) struct EndingArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Return at once, without waiting for the application to exit
    #[arg(long)]
    no_wait: bool,
}

/// Ends an application: `route` says whether it first finishes what it has accepted.
pub(super) async fn run(args: EndingArgs, route: &str) -> Result<(), CliError> {
    let client = args.control.client().await?;
    let accepted: Accepted = client.post(route, &Accepted {}).await?;
    if !args.no_wait {
        client.until_gone().await;
    }
    if args.control.json {
        print_json(&accepted)?;
    }
    Ok(())
}
