//! Checks of option values while a recipe is read, so that the error names the loss and what would be right.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A number above zero.
pub(crate) fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |v| v > 0.0, "must be above 0")
}

/// Zero or a number above it.
pub(crate) fn not_negative<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |v| v >= 0.0, "must be 0 or above")
}

/// A number from 0 to 1.
pub(crate) fn fraction<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    checked(from, |v| (0.0..=1.0).contains(&v), "must be from 0 to 1")
}

fn checked<'de, D: Deserializer<'de>>(from: D, holds: fn(f64) -> bool, must: &str) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    if value.is_finite() && holds(value) {
        Ok(value)
    } else {
        Err(D::Error::custom(format!("the number {value} {must}")))
    }
}
