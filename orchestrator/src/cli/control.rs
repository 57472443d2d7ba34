//! Options of the commands that talk to a running application.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::terminal;
use crate::control::client::{Client, ClientError};

/// The option that says which running application is meant.
#[derive(Debug, Clone, Args)]
pub(super) struct SocketArgs {
    /// The application's control socket, as `run` prints it [default: the socket of the only running application]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl SocketArgs {
    pub(super) async fn client(&self) -> Result<Client, ClientError> {
        Client::find(self.control.as_deref()).await
    }
}

/// Options of commands that print the answer of a running application.
#[derive(Debug, Clone, Args)]
pub(super) struct ControlArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl ControlArgs {
    pub(super) fn path(&self) -> Option<&Path> {
        self.socket.control.as_deref()
    }

    pub(super) async fn client(&self) -> Result<Client, ClientError> {
        self.socket.client().await
    }
}

/// Prints `report` as one line of JSON.
pub(super) fn print_json(report: &impl Serialize) -> std::io::Result<()> {
    terminal::line(format_args!("{}", serde_json::to_string(report)?));
    Ok(())
}
