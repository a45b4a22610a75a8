//! Evaluation: from gold and predictions to a report with intervals, plots and the worst errors, and the comparison of
//! two models on the same rows. What a metric is stands in [`crate::metrics`].

mod bag_of_words;
mod baseline;
mod candidate;
mod classification;
mod compare;
mod evaluation;
mod foretold;
mod frequent_tags;
mod generated;
mod html;
mod lexical;
mod predict;
mod questions;
mod rated;
mod report;
mod rows;
mod svg;
mod tagged;

pub use bag_of_words::BagOfWords;
pub use baseline::baseline;
pub use candidate::Candidate;
pub use classification::{Classes, LabelSets};
pub use compare::{Comparison, compare};
pub use evaluation::{EvaluateOptions, Evaluation, Heard, Predictions, evaluate};
pub use foretold::{Foretold, Texts};
pub use frequent_tags::FrequentTags;
pub use generated::Generated;
pub(crate) use html::page_of;
pub use html::{Compared, page, pictures};
pub use lexical::Lexical;
pub use predict::{Predictor, Window, sequence_logits};
pub use questions::{Answers, Prediction};
pub use rated::Ratings;
pub use report::{Evaluated, Figure, LabelRow, Lengths, Mistake, Report, ReportOptions};
pub(crate) use svg::escape;
pub use svg::{bars, confusion_matrix, reliability_curve};
pub use tagged::Tags;
