//! Sampled packet headers.
