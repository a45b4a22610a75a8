//! Fused transformer arithmetic on slices, each forward with its backward.
