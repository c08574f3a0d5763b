//! What a site says it wants: providers, channels and destinations, read from TOML files.
//!
//! [`Site`] is the whole of it, checked and resolved: `${env:}` and `${file:}` are filled in, relative
//! paths are joined to what they are relative to, conditions are parsed, every name that is used is
//! there. The engine reads nothing else. [`load()`] makes one of a folder, or says everything that is
//! wrong with it; [`plan()`] compares two; [`check`] is `tributary check`; [`init()`] writes a first one.

mod audit;
mod channel;
pub mod check;
mod consent;
mod destination;
mod init;
mod load;
mod plan;
mod problem;
mod read;
mod services;
mod site;
#[cfg(test)]
mod tests;

pub use audit::{AuditConfig, AuditRepositoryConfig, By};
pub use channel::{
    ChannelConfig, Content, Expectation, ExpectedState, Hl7v2ToFhirConfig, InboundKind, LabelConfig, LaneKey,
    LateConfig, LatePolicy, Loops, RouteConfig, ScriptConfig, TestConfig, TransformConfig, Validate, VerifySignatures,
};
pub use consent::{ConsentConfig, FixedConsent, PolicyConfig};
pub use destination::{
    Attempts, Budget, Deidentify, DestinationConfig, OnUnknown, OutboundKind, PauseConfig, RetryConfig, SignConfig,
};
pub use init::{InitError, init};
pub use load::{Overrides, admin_socket, load, load_with};
pub use plan::{Change, Effect, Part, plan};
pub use problem::{Place, Problem, Severity};
pub use services::{IdentityConfig, KeepConfig, ServicesConfig};
pub use site::{AdminConfig, EngineConfig, Fingerprint, LimitsConfig, LogConfig, LogFormat, Site, StoreConfig};
