//! The sites that are measured: one channel, and at most one destination.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Where messages go.
#[derive(Clone, Copy)]
pub(super) enum Towards {
    /// Nowhere: each is accepted, filtered and kept.
    Nothing,
    /// As they came, to an MLLP receiver.
    Mllp(SocketAddr),
    /// Converted, stamped and flagged, to a FHIR server.
    Fhir(SocketAddr),
}

/// A site on disk.
pub(super) struct SiteFolder {
    /// The folder of its files.
    pub(super) dir: PathBuf,
    /// Where its channel listens.
    pub(super) listen: SocketAddr,
}

/// How the site behaves.
pub(super) struct Plan {
    pub(super) towards: Towards,
    /// False: deliveries wait.
    pub(super) enabled: bool,
    /// Whether consent is asked for at every attempt, or what is allowed is told by flags alone.
    pub(super) policy: bool,
}

impl SiteFolder {
    /// Writes a site into `dir`, with its data beside its files.
    pub(super) fn write(dir: &Path, plan: &Plan) -> anyhow::Result<Self> {
        let listen = free_address()?;
        let site = Self { dir: dir.to_owned(), listen };
        for folder in ["channels", "destinations", "policies"] {
            std::fs::create_dir_all(dir.join(folder))?;
        }
        let file = |name: &str, text: &str| std::fs::write(dir.join(name), text);
        file("tributary.toml", ENGINE)?;
        file("providers.toml", PROVIDERS)?;
        file("policies/us-tpo.toml", POLICY)?;
        file("channels/feed.toml", &channel(listen, plan.towards))?;
        if let Some(outbound) = outbound(plan.towards) {
            file("destinations/sink.toml", &destination(plan, &outbound))?;
        }
        Ok(site)
    }
}

/// An address of this machine that nobody listens on.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

const ENGINE: &str = r#"
base_uri  = "https://ehr.willowmere.example/tributary"
time_zone = "America/Chicago"
data_dir  = "data"

[log]
level = "warn"
"#;

const PROVIDERS: &str = r#"
[st-mary]
name    = "St Mary's Hospital"
system  = "urn:oid:2.16.840.1.113883.19.4"
value   = "1"
systems = { ST-MARY = "urn:oid:2.16.840.1.113883.19.5.1" }

[willowmere]
name = "Willowmere Regional Health"
"#;

/// The policy that is asked, where one is.
const POLICY: &str = include_str!("../../../config/policies/us-tpo.toml");

fn channel(listen: SocketAddr, towards: Towards) -> String {
    let transform = match towards {
        Towards::Fhir(_) => "[[transform]]\nhl7v2-to-fhir = {}\n",
        Towards::Nothing | Towards::Mllp(_) => "",
    };
    let route = match towards {
        Towards::Nothing => "",
        Towards::Mllp(_) | Towards::Fhir(_) => {
            "[[route]]\nto = \"sink\"\npurpose = \"TREAT\"\nwhen = \"MSH-9.1 in ['ADT', 'ORU']\"\n"
        }
    };
    format!(
        r#"
provider = "st-mary"
purposes = ["TREAT", "HPAYMT"]

[inbound.mllp]
listen = "{listen}"
max_connections_per_peer = 1000

{transform}
{route}"#
    )
}

fn outbound(towards: Towards) -> Option<String> {
    match towards {
        Towards::Nothing => None,
        Towards::Mllp(address) => Some(format!("[outbound.mllp]\naddress = \"{address}\"\nconnections = 32\n")),
        Towards::Fhir(address) => Some(format!("[outbound.fhir]\nurl = \"http://{address}\"\nconnections = 32\n")),
    }
}

/// What fails is tried again soon, so that a run with faults ends.
fn destination(plan: &Plan, outbound: &str) -> String {
    let enabled = plan.enabled;
    let policy = if plan.policy { "policy      = \"us-tpo\"" } else { "" };
    format!(
        r#"
recipient   = "willowmere"
production  = true
enabled     = {enabled}
{policy}
concurrency = 32

{outbound}

[retry]
first     = "20ms"
max_delay = "200ms"
attempts  = {{ unavailable = "unlimited", erred = "unlimited", unknown = "unlimited" }}

[pause]
after          = 1000
probe_interval = "100ms"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[track_caller]
    fn check(towards: Towards) {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan { towards, enabled: true, policy: true };
        let site = SiteFolder::write(dir.path(), &plan).unwrap();
        let loaded = config::load_with(&site.dir, &config::Overrides::default(), &|_| None);
        assert!(loaded.is_ok(), "{:?}", loaded.err());
    }

    #[test]
    fn the_measured_sites_load() {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        [Towards::Nothing, Towards::Mllp(address), Towards::Fhir(address)].into_iter().for_each(check);
    }
}
