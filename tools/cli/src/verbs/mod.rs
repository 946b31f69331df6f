//! One module a verb. Each has `Arguments`, whose help is the verb's manual, and `run`.
//!
//! `pipeline` calls the others with arguments of its own: what it does can be done by hand, verb by verb.

pub mod adapt;
pub mod answers;
pub mod bench;
pub mod board;
pub mod bundle;
pub mod compare;
pub mod compare_runs;
pub mod completions;
pub mod demo;
pub mod deploy;
pub mod distill;
pub mod doctor;
pub mod evaluate;
pub mod inspect;
pub mod key;
pub mod man;
pub mod pipeline;
pub mod profile;
pub mod quantize;
pub mod recheck;
pub mod recipes;
pub mod report;
pub mod rollback;
pub mod sign;
pub mod teach;
pub mod validate;
pub mod verify;
pub mod zoo;
