//! The `ptm` binary.
fn main() {}
