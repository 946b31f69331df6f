//! Which instruction set path the plans of this process run on: the fastest of this CPU, or the one that `LIMBECK_ISA` names.

use limbeck_plan::Isa;

use crate::error::EngineError;

/// Environment variable that forces a path, for tests and comparisons. All paths give the same integers.
pub const ISA_VARIABLE: &str = "LIMBECK_ISA";

/// Names of the paths of this CPU, slowest first.
pub fn paths() -> Vec<&'static str> {
    Isa::available().map(Isa::name).collect()
}

/// The path to use.
///
/// # Errors
/// `LIMBECK_ISA` names a path that this CPU has not.
pub fn path() -> Result<Isa, EngineError> {
    let Some(wanted) = std::env::var_os(ISA_VARIABLE) else { return Ok(Isa::detect()) };
    wanted.to_str().and_then(Isa::named).ok_or_else(|| {
        EngineError::Unsuitable(format!(
            "{ISA_VARIABLE}={}: this CPU has the paths {}",
            wanted.display(),
            paths().join(", ")
        ))
    })
}
