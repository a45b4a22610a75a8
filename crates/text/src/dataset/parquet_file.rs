//! Parquet files: rows of row groups, with the names of class labels that the datasets library stores beside the
//! columns. Snappy, gzip, LZ4 and no compression; zstd and brotli would bring C code or large tables and are refused
//! by name.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::Compression;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::record::Field;
use parquet::record::reader::RowIter;
use serde_json::{Map, Value};

use super::error::Error;
use super::source::{Block, Content, Record, Source};
use super::{fnv, fnv_on};

/// A row group is divided into blocks of so many rows at least…
const BLOCK_ROWS: u64 = 4096;
/// …and so many blocks at most: to reach a block, the rows of its group before it are read.
const MOST_BLOCKS: u64 = 16;
/// A block may take so much memory.
const LARGEST_BLOCK: usize = 512 << 20;
/// Files that claim more rows are not believed.
const MOST_ROWS: u64 = 1 << 32;

struct Part {
    group: usize,
    /// Rows of its group before it.
    skip: u64,
    /// Rows of the file before it.
    before: u64,
}

/// Rows of a group from some row on, kept so that reading in order never reads twice.
struct Running {
    group: usize,
    next: u64,
    rows: RowIter<'static>,
}

/// A file and where its blocks are.
pub(super) struct ParquetFile {
    path: PathBuf,
    name: Arc<str>,
    content: u64,
    parts: Vec<Part>,
    blocks: Vec<Block>,
    /// Column → names of its labels.
    classes: HashMap<String, Vec<String>>,
    running: Mutex<Option<Running>>,
}

impl ParquetFile {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name: Arc<str> = path.display().to_string().into();
        let mut this = Self {
            path: path.to_owned(),
            name,
            content: 0,
            parts: Vec::new(),
            blocks: Vec::new(),
            classes: HashMap::new(),
            running: Mutex::new(None),
        };
        // the metadata says nothing of values, so that all of it is read once
        this.content = this.hash()?;
        let file = this.file()?;
        let reader = this.guarded(|| SerializedFileReader::new(file).map_err(|error| error.to_string()))?;
        let metadata = reader.metadata();
        let mut before = 0;
        for (group, about) in metadata.row_groups().iter().enumerate() {
            for column in about.columns() {
                let known = matches!(
                    column.compression(),
                    Compression::UNCOMPRESSED
                        | Compression::SNAPPY
                        | Compression::GZIP(_)
                        | Compression::LZ4
                        | Compression::LZ4_RAW
                );
                if !known {
                    let problem = format!(
                        "column {} is compressed with {}; write the file with snappy, gzip or lz4",
                        column.column_path().string(),
                        column.compression()
                    );
                    return Err(this.wrong(problem));
                }
            }
            let rows = u64::try_from(about.num_rows()).unwrap_or(u64::MAX);
            if rows > MOST_ROWS || before + rows > MOST_ROWS {
                return Err(this.wrong(format!("it claims more than {MOST_ROWS} rows: the file is damaged")));
            }
            let bytes = u64::try_from(about.total_byte_size()).unwrap_or(0);
            let step = BLOCK_ROWS.max(rows.div_ceil(MOST_BLOCKS));
            let mut skip = 0;
            while skip < rows {
                let count = step.min(rows - skip);
                this.parts.push(Part { group, skip, before: before + skip });
                let share = u64::try_from(u128::from(bytes) * u128::from(count) / u128::from(rows)).unwrap_or(u64::MAX);
                this.blocks.push(Block { rows: count as u32, bytes: share });
                skip += count;
            }
            before += rows;
        }
        let pairs = metadata.file_metadata().key_value_metadata();
        let features = pairs.into_iter().flatten().find(|pair| pair.key == "huggingface");
        this.classes = features.and_then(|pair| pair.value.as_deref()).map(classes).unwrap_or_default();
        Ok(this)
    }

    fn file(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(|source| Error::Read { path: self.path.clone(), source })
    }

    fn hash(&self) -> Result<u64, Error> {
        let mut file = self.file()?;
        let (mut hash, mut buffer) = (fnv(&[]), vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer).map_err(|source| Error::Read { path: self.path.clone(), source })? {
                0 => return Ok(hash),
                count => hash = fnv_on(hash, &buffer[..count]),
            }
        }
    }

    fn wrong(&self, problem: String) -> Error {
        Error::File { path: self.path.clone(), problem }
    }

    /// Runs the library underneath, which checks damaged files with assertions in places.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, String>) -> Result<T, Error> {
        let done = catch_unwind(AssertUnwindSafe(work));
        let done = done.unwrap_or_else(|_| Err("its parts contradict each other".to_owned()));
        done.map_err(|reason| self.wrong(format!("not a readable Parquet file: {reason}; get it again")))
    }

    /// The rows of a group from the beginning.
    fn rows_of(&self, group: usize) -> Result<RowIter<'static>, Error> {
        let file = self.file()?;
        self.guarded(move || {
            let options = ReadOptionsBuilder::new().with_predicate(Box::new(move |_, index| index == group)).build();
            let reader = SerializedFileReader::new_with_options(file, options).map_err(|error| error.to_string())?;
            Ok(RowIter::from_file_into(Box::new(reader)))
        })
    }
}

impl Source for ParquetFile {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn by_lines(&self) -> bool {
        false
    }

    fn content(&self) -> u64 {
        self.content
    }

    fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    fn read(&self, block: usize) -> Result<Vec<Record>, Error> {
        let part = &self.parts[block];
        let wanted = self.blocks[block].rows as usize;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let here = running.take().filter(|found| found.group == part.group && found.next == part.skip);
        let (mut rows, skip) = match here {
            Some(here) => (here.rows, 0),
            None => (self.rows_of(part.group)?, part.skip),
        };
        let records = self.guarded(|| {
            let mut next = || match rows.next() {
                Some(row) => row.map_err(|error| error.to_string()),
                None => Err("it holds fewer rows than it says".to_owned()),
            };
            for _ in 0..skip {
                next()?;
            }
            // what a file says about its rows is no reason to reserve memory
            let (mut records, mut size) = (Vec::new(), 0);
            while records.len() < wanted {
                let mut values = Map::new();
                for (name, field) in next()?.into_columns() {
                    let classes = self.classes.get(&name);
                    let value = value(field, classes.map(Vec::as_slice), &mut size)?;
                    values.insert(name, value);
                }
                if size > LARGEST_BLOCK {
                    let limit = LARGEST_BLOCK >> 20;
                    return Err(format!("{wanted} of its rows take more than {limit} MiB; write smaller row groups"));
                }
                records
                    .push(Record { number: part.before + records.len() as u64 + 1, content: Content::Values(values) });
            }
            Ok(records)
        })?;
        *running = Some(Running { group: part.group, next: part.skip + wanted as u64, rows });
        Ok(records)
    }

    fn values(&self, record: Record) -> Result<Map<String, Value>, (u64, String)> {
        match record.content {
            Content::Values(values) => Ok(values),
            _ => Err((record.number, "the record has no values".into())),
        }
    }
}

/// A cell as JSON; numbers of class labels become their names, -1 none. `size` counts what it takes in memory.
fn value(field: Field, classes: Option<&[String]>, size: &mut usize) -> Result<Value, String> {
    *size += size_of::<Value>();
    let integer = |number: i64| match (classes, number) {
        (Some(_), -1) => Ok(Value::Null),
        (Some(names), _) => match usize::try_from(number).ok().and_then(|at| names.get(at)) {
            Some(name) => Ok(Value::from(name.as_str())),
            None => Err(format!("label {number}, but it names {} labels", names.len())),
        },
        (None, _) => Ok(Value::from(number)),
    };
    let float = |x: f64| if x.is_finite() { Value::from(x) } else { Value::Null };
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(b) => Value::Bool(b),
        Field::Byte(n) => integer(n.into())?,
        Field::Short(n) => integer(n.into())?,
        Field::Int(n) | Field::Date(n) | Field::TimeMillis(n) => integer(n.into())?,
        Field::Long(n) | Field::TimeMicros(n) | Field::TimestampMillis(n) | Field::TimestampMicros(n) => integer(n)?,
        Field::UByte(n) => integer(n.into())?,
        Field::UShort(n) => integer(n.into())?,
        Field::UInt(n) => integer(n.into())?,
        Field::ULong(n) => Value::from(n),
        Field::Float16(x) => float(x.into()),
        Field::Float(x) => float(x.into()),
        Field::Double(x) => float(x),
        Field::Str(text) => {
            *size += text.len();
            Value::String(text)
        }
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => {
                *size += text.len();
                Value::from(text)
            }
            // pictures and the like stand beside texts: no task reads them here
            Err(_) => Value::Object(Map::from_iter([("bytes".to_owned(), Value::from(bytes.len()))])),
        },
        Field::Decimal(_) => Value::Object(Map::from_iter([("decimal".to_owned(), Value::Bool(true))])),
        Field::Group(row) => {
            let fields = row.into_columns().into_iter();
            let fields = fields.map(|(name, field)| Ok((name, value(field, None, size)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
        Field::ListInternal(list) => {
            let fields = list.elements().iter().map(|field| value(field.clone(), classes, size));
            Value::Array(fields.collect::<Result<_, String>>()?)
        }
        Field::MapInternal(map) => {
            let mut object = Map::new();
            for (key, entry) in map.entries() {
                if let Field::Str(key) = key {
                    object.insert(key.clone(), value(entry.clone(), None, size)?);
                }
            }
            Value::Object(object)
        }
    })
}

/// `{"info": {"features": {COLUMN: {"names": […], "_type": "ClassLabel"}}}}`, a list of them under `feature`.
fn classes(metadata: &str) -> HashMap<String, Vec<String>> {
    let Ok(metadata) = serde_json::from_str::<Value>(metadata) else { return HashMap::new() };
    let Some(features) = metadata.pointer("/info/features").and_then(Value::as_object) else { return HashMap::new() };
    let names = |feature: &Value| {
        let feature = feature.get("feature").unwrap_or(feature);
        let names = feature.get("names")?.as_array()?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    };
    features.iter().filter_map(|(column, feature)| Some((column.clone(), names(feature)?))).collect()
}
