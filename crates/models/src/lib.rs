//! Model families, heads, weights by name, model directories and the hub.
