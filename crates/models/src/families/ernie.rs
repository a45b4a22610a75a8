//! ERNIE as in `transformers`: BERT's names under another prefix.

use super::{Table, bert};

pub(super) const TABLE: Table = Table { prefix: "ernie", body: bert::BODY, head: bert::head };
