//! `tributary repository`: a stand-in FHIR R4 server for demos and tests.

use anyhow::Context as _;
use channels::Stopper;
use tokio::signal::unix::{SignalKind, signal};

use super::print::say;
use super::{Outcome, logging};
use crate::config::LogConfig;
use crate::engine::clock;
use crate::repository::{self, Config, Repository};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS")]
    listen: std::net::SocketAddr,
    #[command(flatten)]
    config: Config,
}

pub(super) async fn repository(args: Args) -> Outcome {
    logging::start(&LogConfig::default());
    let listener = tokio::net::TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
    say!("FHIR R4 at http://{}, until Ctrl-C", listener.local_addr()?)?;
    let (stopper, stop) = Stopper::new();
    let repository = Repository::new(args.config, clock::clock());
    let serving = repository::serve(listener, repository, stop);
    tokio::pin!(serving);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        served = &mut serving => return Ok(served?),
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    stopper.stop();
    Ok(serving.await?)
}
