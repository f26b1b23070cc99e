//! Configuration: raw to typed, every error at once.
