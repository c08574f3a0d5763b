//! From a site's configuration to things that run: recipes, inbound channels, destinations.

use std::sync::Arc;

use channels::{ChannelError, Clock, Inbound, Outbound, fhir, file, http, mllp};
use message::consent::Flags;
use message::{Context, Provider, Transform};
use transforms::hl7v2_to_fhir::{self, Hl7v2ToFhir};
use transforms::label::LabelSensitivity;
use transforms::script::{CodeSets, Script, ScriptError};
use transforms::stamp::Stamper;

use super::process::{Hash, Recipe};
use super::signed::Signing;
use crate::config::{
    ChannelConfig, DestinationConfig, Hl7v2ToFhirConfig, InboundKind, LabelConfig, OutboundKind, Site, TransformConfig,
};

/// The engine's name and version, as the assembler of what it makes.
pub const ENGINE: &str = concat!("tributary ", env!("CARGO_PKG_VERSION"));

/// Why a part of the site could not be built, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A channel's or destination's protocol could not be set up.
    #[error("{file}: {source}")]
    Channel {
        /// The configuration file.
        file: String,
        /// What is wrong.
        source: ChannelError,
    },
    /// A channel's label rules are wrong.
    #[error("{file}: its label rules are wrong: {problem}")]
    Labels {
        /// The configuration file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A site's mapping tables are wrong.
    #[error("{file}: its maps are wrong: {problems}")]
    Maps {
        /// The configuration file.
        file: String,
        /// One line for each mistake.
        problems: String,
    },
    /// A script or a code set of the site is wrong.
    #[error("{problems}")]
    Script {
        /// One line for each mistake, with its place.
        problems: String,
    },
}

/// Builds what [`process`](super::process::process) needs to know of a channel.
///
/// # Errors
///
/// [`WireError::Maps`] with every mistake in the site's tables.
pub(crate) fn recipe(site: &Site, config: &ChannelConfig, hash: &Hash) -> Result<Recipe, WireError> {
    let context = context(site, config);
    let flags =
        Flags { purposes: config.purposes.clone(), confidentiality: config.confidentiality, ..Flags::default() };
    let stamper = Stamper::new(&context, flags, &config.stamp)
        .map_err(|error| WireError::Labels { file: config.file.display().to_string(), problem: error.to_string() })?;
    let transforms = config.transforms.iter().map(|transform| build_transform(site, config, transform));
    let named = |name: &String| site.destinations.get(name).cloned().map(Arc::new);
    Ok(Recipe {
        transforms: transforms.collect::<Result<_, _>>()?,
        stamper,
        context,
        destinations: config.routes.iter().flat_map(|route| route.to.iter().filter_map(named)).collect(),
        config_hash: site.hash.clone(),
        hash: Arc::clone(hash),
        homes: homes(site),
        config: config.clone(),
    })
}

/// What reads a channel's HL7 v2 as labelled FHIR, for decisions about it: its own conversion, or the one by the guide.
///
/// # Errors
///
/// As [`recipe`].
pub(crate) fn reader(site: &Site, config: &ChannelConfig, hash: &Hash) -> Result<Recipe, WireError> {
    let conversion = config.transforms.iter().find(|step| matches!(step, TransformConfig::Hl7v2ToFhir(_))).cloned();
    let conversion = conversion.unwrap_or_else(|| TransformConfig::Hl7v2ToFhir(Hl7v2ToFhirConfig::default()));
    let transforms = vec![conversion, TransformConfig::Label(LabelConfig::default())];
    recipe(site, &ChannelConfig { transforms, ..config.clone() }, hash)
}

/// The FHIR servers of the site's providers.
fn homes(site: &Site) -> Arc<[(String, Arc<str>)]> {
    let listed = site.providers.values();
    listed.filter_map(|provider| Some((provider.fhir_url.clone()?, Arc::clone(&provider.key)))).collect()
}

/// What a channel's transforms may know, but for the time.
pub(crate) fn context(site: &Site, config: &ChannelConfig) -> Context {
    Context {
        now: jiff::Timestamp::UNIX_EPOCH,
        provider: site.providers.get(&config.provider).cloned().unwrap_or_else(|| Arc::new(Provider::default())),
        engine: ENGINE.into(),
        base_uri: site.engine.base_uri.as_str().into(),
        time_zone: config.time_zone.clone(),
    }
}

fn build_transform(
    site: &Site,
    config: &ChannelConfig,
    transform: &TransformConfig,
) -> Result<Box<dyn Transform>, WireError> {
    match transform {
        TransformConfig::Hl7v2ToFhir(options) => {
            let maps =
                hl7v2_to_fhir::load(options.maps.as_deref(), &options.options).map_err(|errors| WireError::Maps {
                    file: config.file.display().to_string(),
                    problems: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                })?;
            Ok(Box::new(Hl7v2ToFhir::new(maps, options.options.clone())))
        }
        TransformConfig::Script(options) => {
            let wrong = |errors: Vec<ScriptError>| WireError::Script {
                problems: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            };
            let codes = CodeSets::load(&options.codes).map_err(wrong)?;
            let script = Script::load(&options.file, Arc::new(codes), options.options.clone());
            Ok(Box::new(script.map_err(|error| wrong(vec![error]))?))
        }
        TransformConfig::Label(_) => {
            let (labels, directory) = (Arc::clone(&site.consent.labels), Arc::clone(&site.consent.directory));
            let flags = site.providers.get(&config.provider).map(|provider| provider.flags.clone());
            Ok(Box::new(LabelSensitivity::new(labels, directory, flags.unwrap_or_default())))
        }
    }
}

/// Opens a channel's inbound side: binds its address, opens its folder.
pub(crate) async fn inbound(config: &ChannelConfig, clock: &Clock) -> Result<Box<dyn Inbound>, WireError> {
    let name: Arc<str> = config.name.as_str().into();
    let clock = Arc::clone(clock);
    let opened: Result<Box<dyn Inbound>, ChannelError> = match &config.inbound {
        InboundKind::Mllp(settings) => mllp::Inbound::bind(name, settings.clone(), config.time_zone.clone(), clock)
            .map(|inbound| Box::new(inbound) as Box<dyn Inbound>),
        InboundKind::Http(settings) => http::Inbound::bind(name, settings.clone(), clock)
            .await
            .map(|inbound| Box::new(inbound) as Box<dyn Inbound>),
        InboundKind::File(settings) => {
            file::Inbound::open(name, settings.clone(), clock).map(|inbound| Box::new(inbound) as Box<dyn Inbound>)
        }
    };
    opened.map_err(|source| WireError::Channel { file: config.file.display().to_string(), source })
}

/// Builds a destination's outbound side. It connects when it first sends.
///
/// # Errors
///
/// [`WireError::Channel`] where the settings cannot work.
pub fn outbound(config: &DestinationConfig, clock: &Clock) -> Result<Arc<dyn Outbound>, WireError> {
    let built: Result<Arc<dyn Outbound>, ChannelError> = match &config.outbound {
        OutboundKind::Fhir(settings) => fhir::Outbound::new(settings.clone(), Arc::clone(clock))
            .map(|outbound| Arc::new(outbound) as Arc<dyn Outbound>),
        OutboundKind::Mllp(settings) => {
            Ok(Arc::new(mllp::Outbound::new(config.name.as_str().into(), settings.clone())))
        }
        OutboundKind::File(settings) => {
            file::Outbound::new(settings.clone()).map(|outbound| Arc::new(outbound) as Arc<dyn Outbound>)
        }
    };
    let built = built.map_err(|source| WireError::Channel { file: config.file.display().to_string(), source })?;
    Ok(match &config.sign {
        Some(key) => Arc::new(Signing { inner: built, key: Arc::clone(key), clock: Arc::clone(clock) }),
        None => built,
    })
}
