//! vzrun
fn main() {}
