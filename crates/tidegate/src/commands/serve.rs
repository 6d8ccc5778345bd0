//! `tidegate serve`: the options; the work is in `serve/`.

use crate::located::Place;
use crate::outcome::Outcome;
use std::net::SocketAddr;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate serve                                  no file: providers from the environment, and always `demo`
  tidegate serve --config /etc/tidegate.toml
  tidegate serve --listen 127.0.0.1:9000 --data-dir /var/lib/tidegate

The settings file is read again when it changes and on SIGHUP; a bad one leaves the old one serving.
SIGTERM lets running requests finish.")]
pub(crate) struct Args {
    /// Where to listen [default: server.listen of the settings file, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

pub(crate) async fn run(place: Place, args: Args) -> anyhow::Result<Outcome> {
    crate::serve::run(place, args.listen).await
}
