//! Makes the compact storage of small embedded models (`ptm_models::files::compact`) from any model directory.
//!
//! `cargo run --release -p ptm-models --example compact -- IN_DIR OUT_FILE [GROUP]`

use std::error::Error;
use std::path::Path;

use ptm_models::files::{Dtype, Weights, Writer, compact};

/// Columns that share a scale: 3 % more bytes, and an error well under a tenth of a percent in MiniLM's embeddings.
const GROUP: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (from, to, group) = match arguments.as_slice() {
        [from, to] => (from, to, GROUP),
        [from, to, group] => {
            (from, to, group.parse().map_err(|_| format!("GROUP is a number of columns, not {group:?}"))?)
        }
        _ => return Err("usage: compact IN_DIR OUT_FILE [GROUP]".into()),
    };
    if group == 0 {
        return Err("GROUP is 1 or more".into());
    }
    let weights = Weights::open(Path::new(from))?;
    let mut writer = Writer::new();
    writer.metadata(compact::KEY, &compact::scheme(group));
    for name in weights.names() {
        let Some(view) = weights.get(name) else { continue };
        let float = matches!(view.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64);
        let encoded = match view.shape[..] {
            [_, columns] if float => compact::encode(&view.to_f32()?, columns, group).map(|encoded| (encoded, columns)),
            _ => None,
        };
        let Some((encoded, columns)) = encoded else {
            writer.view(&view);
            continue;
        };
        let rows = view.shape[0];
        writer.raw(name, Dtype::I8, &view.shape, encoded.codes);
        writer.raw(format!("{name}.scale"), encoded.scale_dtype, &[rows, columns.div_ceil(group)], encoded.scales);
    }
    writer.write(Path::new(to))?;
    let written = std::fs::metadata(to)?.len();
    println!("{to}: {:.1} MB from {:.1} MB", written as f64 / 1e6, weights.total_bytes() as f64 / 1e6);
    Ok(())
}
