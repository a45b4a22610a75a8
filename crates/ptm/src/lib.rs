//! Pre-trained language models: the library that users depend on.
