//! Losses whose teacher is the student's own past.

pub(crate) mod ps_kd;
