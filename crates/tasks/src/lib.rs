//! Applications, from strings to answers.
