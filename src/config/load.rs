//! Loads a site from its folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use message::{Provider, Sha256};
use transforms::hl7v2_to_fhir::Options;

use super::channel::{ChannelConfig, ScriptConfig, TransformConfig};
use super::consent::ConsentConfig;
use super::destination::DestinationConfig;
use super::problem::Problem;
use super::read::{self, Base, Document, Files, Fill, Part};
use super::site::Site;

/// What the command line says in place of the files.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// In place of `data_dir` in `tributary.toml`; relative to the working directory.
    pub data_dir: Option<PathBuf>,
}

/// Loads the site in the folder `dir`, with `${env:NAME}` looked up by `env`.
///
/// # Errors
///
/// Every problem of every file, warnings included, if there is any error among them.
pub fn load(dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Site, Vec<Problem>> {
    load_with(dir, &Overrides::default(), env)
}

/// As [`load`], with what the command line says.
///
/// # Errors
///
/// As [`load`].
pub fn load_with(
    dir: &Path,
    overrides: &Overrides,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Site, Vec<Problem>> {
    let fill = Fill { dir, env };
    let mut files = read::read_folder(&fill);
    let data_dir = overrides.data_dir.as_deref();
    let engine = files.engine.as_ref().and_then(|document| read::engine(document, dir, data_dir));
    let (time_zone, data_dir) = match &engine {
        Some(engine) => (engine.time_zone.clone(), engine.data_dir.clone()),
        None => (TimeZone::UTC, dir.to_owned()),
    };
    let base = Base { dir, data_dir: &data_dir, time_zone: &time_zone };
    let mut providers = files.providers.as_ref().map(read::providers).unwrap_or_default();
    let systems = read::systems(dir, &mut files.problems);
    for provider in providers.values_mut().map(Arc::make_mut) {
        for (name, system) in &systems {
            // What a provider says of its own names stands.
            provider.systems.entry(name.clone()).or_insert_with(|| system.clone());
        }
    }
    let channels: Vec<_> = files.channels.iter().filter_map(|part| Some((part, read::channel(part, &base)?))).collect();
    let destinations: Vec<_> =
        files.destinations.iter().filter_map(|part| Some((part, read::destination(part, &base)?))).collect();
    let mut found = std::mem::take(&mut files.problems);
    let consent = read::consent(&files, dir, &providers, &mut found);
    files.problems = found;
    read::across(&files, &consent.fixed, &data_dir);
    let channels: BTreeMap<_, _> =
        channels.into_iter().map(|(part, channel)| seal_channel(part, channel, &providers, &consent)).collect();
    let destinations: BTreeMap<_, _> = destinations
        .into_iter()
        .map(|(part, destination)| seal_destination(part, destination, &providers, &consent))
        .collect();
    let hash = hash_of_all(&files, &channels, &consent);
    let mut problems = finish(files);
    problems.extend(read::maps(&dir.join("maps"), channels.values().flat_map(maps_of)));
    problems.extend(read::scripts(&channels.values().flat_map(scripts_of).collect::<Vec<_>>()));
    match engine {
        Some(engine) if !problems.iter().any(Problem::is_error) => {
            let dir = dir.to_owned();
            let consent = Arc::new(consent);
            Ok(Site { dir, engine, providers, channels, destinations, consent, hash, warnings: problems })
        }
        _ => Err(problems),
    }
}

/// Where the engine of the site in `dir` answers operators, if `tributary.toml` can be read that far.
/// Whatever else is wrong with the files on disk, operators must reach an engine that runs.
pub fn admin_socket(dir: &Path, overrides: &Overrides, env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let files = read::read_folder(&Fill { dir, env });
    let engine = read::engine(files.engine.as_ref()?, dir, overrides.data_dir.as_deref())?;
    Some(engine.admin.socket)
}

/// All problems: of the folder first, then file by file.
fn finish(files: Files) -> Vec<Problem> {
    let parts = files.channels.into_iter().chain(files.destinations).chain(files.policies).chain(files.labels);
    let parts = parts.map(|part| part.document);
    let documents = files.engine.into_iter().chain(files.providers).chain(files.services).chain(parts);
    files.problems.into_iter().chain(documents.flat_map(Document::finish)).collect()
}

type Providers = BTreeMap<String, Arc<Provider>>;

/// Gives a channel its hash: over its file, its maps, its provider, and the label rules where it asks for them.
fn seal_channel(
    part: &Part,
    mut channel: ChannelConfig,
    providers: &Providers,
    consent: &ConsentConfig,
) -> (String, ChannelConfig) {
    let mut hash = Hash::default();
    hash.add("file", part.document.text());
    hash.add_provider(providers.get(&channel.provider));
    maps_of(&channel).for_each(|(maps, _)| hash.add_folder(maps));
    for script in scripts_of(&channel) {
        hash.add("script", &std::fs::read_to_string(&script.file).unwrap_or_default());
        read::code_sets_in(&script.codes).iter().for_each(|file| hash.add_file(file));
    }
    if channel.transforms.iter().any(|transform| matches!(transform, TransformConfig::Label(_))) {
        hash.add("consent", &consent.hash);
    }
    channel.hash = hash.finish();
    (part.name.clone(), channel)
}

/// Gives a destination its hash: over its file, its recipient, and what consent is decided by where it has a policy.
fn seal_destination(
    part: &Part,
    mut destination: DestinationConfig,
    providers: &Providers,
    consent: &ConsentConfig,
) -> (String, DestinationConfig) {
    let mut hash = Hash::default();
    hash.add("file", part.document.text());
    hash.add_provider(providers.get(&destination.recipient));
    if destination.policy.is_some() {
        hash.add("consent", &consent.hash);
    }
    destination.hash = hash.finish();
    (part.name.clone(), destination)
}

/// The folders of maps of a channel, each with what the channel has chosen.
fn maps_of(channel: &ChannelConfig) -> impl Iterator<Item = (&Path, &Options)> {
    channel.transforms.iter().filter_map(|transform| match transform {
        TransformConfig::Hl7v2ToFhir(config) => config.maps.as_deref().map(|maps| (maps, &config.options)),
        TransformConfig::Script(_) | TransformConfig::Label(_) => None,
    })
}

fn scripts_of(channel: &ChannelConfig) -> impl Iterator<Item = &ScriptConfig> {
    channel.transforms.iter().filter_map(|transform| match transform {
        TransformConfig::Script(options) => Some(options),
        TransformConfig::Hl7v2ToFhir(_) | TransformConfig::Label(_) => None,
    })
}

fn hash_of_all(files: &Files, channels: &BTreeMap<String, ChannelConfig>, consent: &ConsentConfig) -> String {
    let mut hash = Hash::default();
    for document in files.engine.iter().chain(&files.providers) {
        hash.add(&document.path().file_name().unwrap_or_default().to_string_lossy(), document.text());
    }
    channels.values().for_each(|channel| hash.add(&channel.name, &channel.hash));
    files.destinations.iter().for_each(|part| hash.add(&part.name, part.document.text()));
    hash.add("consent", &consent.hash);
    hash.finish()
}

/// A SHA-256 over named texts.
#[derive(Default)]
struct Hash(Vec<u8>);

impl Hash {
    /// Adds a text. Lengths go in as well, so that no two sequences of texts look alike.
    fn add(&mut self, name: &str, text: &str) {
        for part in [name, text] {
            self.0.extend(part.len().to_be_bytes());
            self.0.extend(part.as_bytes());
        }
    }

    fn add_provider(&mut self, provider: Option<&Arc<Provider>>) {
        let text = provider.and_then(|provider| serde_json::to_string(provider.as_ref()).ok());
        self.add("provider", &text.unwrap_or_default());
    }

    /// Adds the tables in `folder`, in the order of their names, sub-folders included.
    fn add_folder(&mut self, folder: &Path) {
        for path in read::tables_in(folder) {
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            self.add(&name, &std::fs::read_to_string(&path).unwrap_or_default());
        }
    }

    fn add_file(&mut self, file: &Path) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.add(&name, &std::fs::read_to_string(file).unwrap_or_default());
    }

    fn finish(self) -> String {
        Sha256::of(&self.0).to_string()
    }
}
