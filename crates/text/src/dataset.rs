//! Labelled data: rows of files in the usual formats, as examples of a task, in their order or shuffled, in constant
//! memory. Not a downloader, and no tokens: an example is text.

mod align;
mod choice;
mod classified;
mod conll;
mod csv;
mod error;
mod fields;
mod json_objects;
mod labels;
mod locate;
mod options;
mod order;
#[cfg(feature = "parquet")]
mod parquet_file;
mod question;
mod row;
mod source;
mod squad;
mod survey;
mod tagged;
mod text_file;
mod written;

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use align::Sentence;
pub use choice::Choice;
pub use classified::{Classified, MultiLabelled, Rated};
pub use error::{Error, Place};
pub use fields::Fields;
pub use labels::{HasLabels, Labels};
pub use locate::files;
pub use options::{Columns, Format, Options};
pub use order::{Cursor, Order};
pub use question::{Answer, Question};
pub use survey::{Measured, Spread, Survey, Surveyed, Yardstick};
pub use tagged::Tagged;
pub use written::{Text, TextToText};

pub(crate) use options::Role;
pub(crate) use order::Window;
pub(crate) use row::Row;
pub(crate) use survey::spread;

use conll::Style;
use csv::Dialect;
use source::{Record, Source};
use squad::SquadFile;
use text_file::{Grammar, TextFile};

/// What a task reads from a row.
pub trait Example: Sized + Send + Clone + std::fmt::Debug + PartialEq + 'static {
    /// Reads one row.
    ///
    /// # Errors
    /// When a column is missing or holds something else; the message names the place.
    fn from_row(row: RowOf<'_>) -> Result<Self, Error>;

    /// Whether it can be learnt from.
    fn is_labelled(&self) -> bool;
}

/// A row on its way to an example.
pub struct RowOf<'o>(pub(crate) Row<'o>);

/// Rows of one or more files, read as `E`. Sharing it between threads is fine.
pub struct Dataset<E> {
    inner: Arc<Inner>,
    example: PhantomData<fn() -> E>,
}

struct Inner {
    sources: Vec<Box<dyn Source>>,
    options: Options,
    rows: u64,
    fingerprint: u64,
}

impl<E> Clone for Dataset<E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), example: PhantomData }
    }
}

impl<E> std::fmt::Debug for Dataset<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<&str> = self.inner.sources.iter().map(|source| &**source.name()).collect();
        f.debug_struct("Dataset").field("files", &files).field("rows", &self.inner.rows).finish()
    }
}

impl<E: Example> Dataset<E> {
    /// Opens files and folders. Each file is read through once to find where its rows are, and to know it again.
    ///
    /// # Errors
    /// When a file cannot be read or is not what its format says, or there is no row at all.
    pub fn open(paths: &[PathBuf], options: &Options) -> Result<Self, Error> {
        let mut sources = Vec::new();
        let mut seen = serde_json::to_string(options).unwrap_or_default();
        for path in paths {
            for file in files(path, options.split.as_deref())? {
                let source = open(&file, options)?;
                // the folder may move between the parts of a run, names stay
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                seen = format!("{seen}\n{name} {:016x}", source.content());
                sources.push(source);
            }
        }
        let rows = sources.iter().flat_map(|source| source.blocks()).map(|block| u64::from(block.rows)).sum();
        if rows == 0 {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(Error::Empty { place: names.join(", ") });
        }
        let inner = Inner { sources, options: options.clone(), rows, fingerprint: fnv(seen.as_bytes()) };
        Ok(Self { inner: Arc::new(inner), example: PhantomData })
    }

    /// How many rows there are, those without a label included.
    pub fn len(&self) -> u64 {
        self.inner.rows
    }

    /// Never: a data set has a row at least.
    pub fn is_empty(&self) -> bool {
        self.inner.rows == 0
    }

    /// The files that it is read from.
    pub fn files(&self) -> Vec<String> {
        self.inner.sources.iter().map(|source| source.name().to_string()).collect()
    }

    /// How it is read.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// A number that differs for other files or options: a run that is continued must find the one it began with.
    /// Made of names, contents and options.
    pub fn fingerprint(&self) -> u64 {
        self.inner.fingerprint
    }

    /// The same files read as another kind of example.
    pub fn read_as<F: Example>(&self) -> Dataset<F> {
        Dataset { inner: self.inner.clone(), example: PhantomData }
    }

    /// Examples in `order`, without the first `from` rows. After the error of one row the others still come
    /// ([`Error::is_of_one_row`]); after any other error nothing does.
    pub fn rows(&self, order: Order, from: u64) -> Rows<E> {
        let sources = self.inner.sources.iter().enumerate();
        let blocks = sources.flat_map(|(file, source)| {
            source.blocks().iter().enumerate().map(move |(at, block)| (file, at, block.rows, block.bytes))
        });
        let limit = (self.inner.options.window_mib as u64).saturating_mul(1 << 20);
        let mut windows = order.windows(blocks.collect(), limit);
        let (mut first, mut skip) = (0, from);
        while first < windows.len() && windows[first].rows <= skip {
            skip -= windows[first].rows;
            first += 1;
        }
        windows.drain(..first);
        Rows {
            data: self.clone(),
            order,
            windows: windows.into_iter(),
            window: first,
            skip: skip as usize,
            records: Vec::new().into_iter(),
            position: from.min(self.inner.rows),
        }
    }
}

/// The hash of Fowler, Noll and Vo (FNV-1a): unlike the standard library's, the same in every version.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    fnv_on(0xcbf2_9ce4_8422_2325, bytes)
}

/// The hash of what came before and these bytes behind it.
pub(crate) fn fnv_on(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Opens one file.
fn open(path: &Path, options: &Options) -> Result<Box<dyn Source>, Error> {
    let format = match options.format {
        Some(format) => format,
        None => locate::format(path)?,
    };
    let grammar = match format {
        Format::Jsonl => Grammar::Jsonl,
        Format::Json => Grammar::Json,
        Format::Lines => Grammar::Lines,
        Format::Conll => Grammar::Conll(Style::Conll),
        Format::Conllu => Grammar::Conll(Style::Conllu),
        Format::Csv | Format::Tsv => {
            let tabs = format == Format::Tsv;
            let delimiter = options.delimiter.unwrap_or(if tabs { '\t' } else { ',' });
            let delimiter = u8::try_from(delimiter).ok().filter(|byte| !matches!(byte, b'"' | b'\r' | b'\n' | 128..));
            let delimiter = delimiter.ok_or_else(|| {
                Error::Options("delimiter must be one ASCII character other than a quotation mark or line end".into())
            })?;
            Grammar::Csv(Dialect { delimiter, quoting: options.quoting.unwrap_or(!tabs) }, Vec::new())
        }
        Format::Squad => return Ok(Box::new(SquadFile::open(path)?)),
        Format::Parquet => return parquet(path),
    };
    Ok(Box::new(TextFile::open(path, grammar, options.header)?))
}

#[cfg(feature = "parquet")]
fn parquet(path: &Path) -> Result<Box<dyn Source>, Error> {
    Ok(Box::new(parquet_file::ParquetFile::open(path)?))
}

#[cfg(not(feature = "parquet"))]
fn parquet(path: &Path) -> Result<Box<dyn Source>, Error> {
    let problem = "this program was built without the feature `parquet`: build it with that, or give .jsonl".to_owned();
    Err(Error::File { path: path.to_owned(), problem })
}

/// Examples one after the other.
pub struct Rows<E> {
    data: Dataset<E>,
    order: Order,
    windows: std::vec::IntoIter<Window>,
    /// The number of the next window.
    window: usize,
    /// Rows of the next window that are passed over.
    skip: usize,
    records: std::vec::IntoIter<(usize, Record)>,
    position: u64,
}

impl<E> std::fmt::Debug for Rows<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("order", &self.order).field("position", &self.position).finish_non_exhaustive()
    }
}

impl<E: Example> Rows<E> {
    /// Rows that were given or passed over: `from` for whoever continues here.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads the next window.
    fn load(&mut self, window: &Window) -> Result<(), Error> {
        let mut records = Vec::new();
        for &(file, block) in &window.blocks {
            let found = self.data.inner.sources[file].read(block)?;
            records.extend(found.into_iter().map(|record| (file, record)));
        }
        self.order.arrange(self.window, &mut records);
        self.window += 1;
        self.records = records.into_iter();
        if self.skip > 0 {
            self.records.nth(self.skip - 1);
            self.skip = 0;
        }
        Ok(())
    }

    fn example(&self, file: usize, record: Record) -> Result<E, Error> {
        let source = &self.data.inner.sources[file];
        let place = |number| Place { file: source.name().clone(), number, lines: source.by_lines() };
        let number = record.number;
        let values = source.values(record).map_err(|(number, problem)| Error::row(&place(number), problem))?;
        E::from_row(RowOf(Row { values, place: place(number), options: &self.data.inner.options }))
    }
}

impl<E: Example> Iterator for Rows<E> {
    type Item = Result<E, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((file, record)) = self.records.next() else {
                let window = self.windows.next()?;
                if let Err(error) = self.load(&window) {
                    self.windows = Vec::new().into_iter();
                    return Some(Err(error));
                }
                continue;
            };
            self.position += 1;
            match self.example(file, record) {
                Ok(example) if self.data.inner.options.skip_unlabelled && !example.is_labelled() => {}
                done => return Some(done),
            }
        }
    }
}
