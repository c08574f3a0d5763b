//! What a site says it wants: providers, channels and destinations, read from TOML files.
//!
//! [`Site`] is the whole of it, checked and resolved: paths are absolute or relative to the working
//! directory, `${env:}` and `${file:}` are filled in, conditions are parsed, every name that is used
//! is there. The engine reads nothing else.

mod awaited;
mod site;

pub use awaited::*;
pub use site::{
    Acknowledge, AdminConfig, Attempts, Budget, ChannelConfig, Content, DestinationConfig, EngineConfig, Expectation,
    Hl7v2ToFhirConfig, InboundKind, LaneKey, LimitsConfig, LogConfig, LogFormat, OnUnknown, OutboundKind, PauseConfig,
    RetryConfig, RouteConfig, Site, StoreConfig, TestConfig, TransformConfig, Undecodable,
};
