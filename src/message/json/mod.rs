//! JSON as resources are held in it: elements keep their order, numbers their digits.
//!
//! The same words as `serde_json`, and built for what FHIR is made of: thousands of small objects with
//! the same few names. Short texts need no memory of their own, and clones of long ones share it. An
//! object is a list of members that is looked through; what must be quick in big objects sorts them first.

mod map;
mod number;
mod serde;
mod shared;
mod value;
mod write;

pub use map::{Iter, Map};
pub use number::{NoNumber, Number};
pub(crate) use shared::Shared;
pub use smol_str::SmolStr as Text;
pub use value::{Index, Value};

#[doc(hidden)]
pub use serde_json as __serde_json;

/// A [`Value`] as `serde_json::json!` writes it. Not for hot paths: it is made by way of `serde_json`.
#[macro_export]
macro_rules! json {
    ($($json:tt)+) => {
        $crate::json::Value::from($crate::json::__serde_json::json!($($json)+))
    };
}

pub use crate::json;

#[cfg(test)]
mod tests;
