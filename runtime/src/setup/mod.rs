//! One room per thing in config.json. Each has `plan` (from the spec to kernel terms: pure, refuses nonsense) and `apply`
//! (system calls only).

pub(crate) mod capabilities;
