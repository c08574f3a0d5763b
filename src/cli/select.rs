//! Options that select messages: the same for `messages search` and `replay`.

use anyhow::bail;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::{Timestamp, Zoned};

use super::connection::Connection;
use crate::admin::Operation;
use crate::engine::{Status, clock};
use crate::store::{MessageQuery, State};

/// Which messages. All that are given must hold.
#[derive(clap::Args, Clone)]
pub(super) struct Select {
    /// Of this channel.
    #[arg(long)]
    channel: Option<String>,
    /// With a delivery to this destination.
    #[arg(long)]
    destination: Option<String>,
    /// In this state.
    #[arg(long, value_parser = states())]
    state: Option<State>,
    /// Accepted since: a time (2026-01-31T08:00), or how long ago (30m, 2h, 7d).
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Accepted until: as --since.
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
    /// Of the patient with this identifier (PID-3, Patient.identifier); also finds visit, order and
    /// accession numbers.
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// With this control id (MSH-10, Bundle.identifier).
    #[arg(long, value_name = "ID")]
    control_id: Option<String>,
    /// Of this type: ADT^A01, or ADT for all of them.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Whose last reason contains this text.
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
}

impl Select {
    /// As a query of the store.
    pub(super) fn query(self) -> MessageQuery {
        MessageQuery {
            channel: self.channel,
            destination: self.destination,
            states: self.state.into_iter().collect(),
            from: self.since,
            to: self.until,
            search: self.patient,
            control_id: self.control_id,
            kind: self.kind,
            error: self.error,
            ..MessageQuery::default()
        }
    }

    /// True if nothing is asked for: everything is selected.
    pub(super) fn is_everything(&self) -> bool {
        let Self { channel, destination, state, since, until, patient, control_id, kind, error } = self;
        let texts = [channel, destination, patient, control_id, kind, error];
        texts.iter().all(|text| text.is_none()) && state.is_none() && since.is_none() && until.is_none()
    }

    /// The destination that is asked for.
    pub(super) fn destination(&self) -> Option<&String> {
        self.destination.as_ref()
    }
}

/// Reads a state by its name, and knows all names.
pub(super) fn states() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::ALL.map(|state| state.as_str()))
        .try_map(|name| State::ALL.into_iter().find(|state| state.as_str() == name).ok_or("there is no such state"))
}

/// Refuses names that neither the configuration nor the store knows: "none found" would mislead.
pub(super) async fn known(
    connection: &Connection,
    channel: Option<&str>,
    destination: Option<&str>,
) -> anyhow::Result<()> {
    if channel.is_none() && destination.is_none() {
        return Ok(());
    }
    let status: Status = connection.call(Operation::Status).await?;
    let channels: Vec<&str> = status.channels.iter().map(|channel| &*channel.name).collect();
    let destinations: Vec<&str> = status.destinations.iter().map(|destination| &*destination.name).collect();
    among("channel", channel, &channels)?;
    among("destination", destination, &destinations)
}

fn among(kind: &str, name: Option<&str>, all: &[&str]) -> anyhow::Result<()> {
    match name {
        Some(name) if !all.contains(&name) && all.is_empty() => bail!("there is no {kind} `{name}`, nor any other"),
        Some(name) if !all.contains(&name) => bail!("there is no {kind} `{name}`; there are {}", all.join(", ")),
        _ => Ok(()),
    }
}

/// A time, in the system's zone where it names none, or how long ago.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = text.parse::<jiff::SignedDuration>() {
        return clock::now().checked_sub(ago.abs()).map_err(|error| error.to_string());
    }
    if let Ok(days) = text.trim_end_matches('d').parse::<i64>().map(|days| days * 24)
        && text.ends_with('d')
    {
        return clock::now().checked_sub(jiff::SignedDuration::from_hours(days)).map_err(|error| error.to_string());
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let local = text.parse::<Zoned>().map(|zoned| zoned.timestamp()).or_else(|_| {
        let civil: jiff::civil::DateTime = text.parse().or_else(|_| {
            text.parse::<jiff::civil::Date>().map(|date| date.to_datetime(jiff::civil::Time::midnight()))
        })?;
        civil.to_zoned(jiff::tz::TimeZone::system()).map(|zoned| zoned.timestamp())
    });
    local.map_err(|_: jiff::Error| format!("`{text}` is no time; write 2026-01-31T08:00, or how long ago: 30m, 2h, 7d"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn reads_times_and_how_long_ago() {
        assert_eq!(moment("2026-01-31T08:00:00Z").unwrap(), "2026-01-31T08:00:00Z".parse().unwrap());
        let two_days_ago = clock::now() - jiff::SignedDuration::from_hours(48);
        assert!((moment("2d").unwrap().duration_since(two_days_ago)).abs() < jiff::SignedDuration::from_secs(5));
        assert!(moment("30m").unwrap() < clock::now());
        assert!(moment("2026-01-31T08:00").is_ok() && moment("2026-01-31").is_ok());
        assert!(moment("yesterday").unwrap_err().contains("is no time"));
    }

    #[test]
    fn refuses_names_that_nobody_knows() {
        assert!(among("channel", Some("a"), &["a", "b"]).is_ok() && among("channel", None, &[]).is_ok());
        let refused = among("channel", Some("c"), &["a", "b"]).unwrap_err().to_string();
        assert_eq!(refused, "there is no channel `c`; there are a, b");
    }

    #[test]
    fn selects_everything_only_when_nothing_is_asked_for() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            select: Select,
        }
        let select = |line: &str| Line::try_parse_from(line.split(' ')).map(|line| line.select);
        assert!(select("x").unwrap().is_everything());
        for one in ["--channel a", "--state dead", "--since 2h", "--patient 1", "--type ADT", "--error x"] {
            assert!(!select(&format!("x {one}")).unwrap().is_everything(), "{one}");
        }
        let query = select("x --state dead --type ADT^A01").unwrap().query();
        assert_eq!((query.states, query.kind.as_deref()), (vec![State::Dead], Some("ADT^A01")));
        assert!(select("x --state deaf").is_err());
    }
}
