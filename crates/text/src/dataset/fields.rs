//! Rows as they are: every column with a single value, as text under its own name. What to make of them says whoever
//! reads them.

use std::collections::BTreeMap;

use super::error::{Error, Place};
use super::options::Role;
use super::row::plain;
use super::{Example, RowOf};

/// The columns of a row by their names; numbers and truth values are taken as they are written, lists are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    values: BTreeMap<String, String>,
    place: Place,
    labelled: bool,
}

impl Fields {
    /// What a column holds; none where there is no such column, or nothing in it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The columns that hold something.
    pub fn names(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).collect()
    }

    /// Where the row stands.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl Example for Fields {
    fn from_row(RowOf(mut row): RowOf<'_>) -> Result<Self, Error> {
        let options = row.options;
        let given = options.columns.given(Role::Label);
        // the label is a column as others are, unless something is said of labels
        let said = given.is_some() || !options.label_names.is_empty() || options.skip_unlabelled;
        let usual = || Role::Label.usual().iter().copied().find(|name| row.values.contains_key(*name));
        let column = said.then(|| given.or_else(usual)).flatten().map(str::to_owned);
        let label = match &column {
            None => None,
            Some(_) => row.find(Role::Label)?.map(|value| row.label(value)).transpose()?.flatten(),
        };
        let labelled = column.is_none() || label.is_some();
        let single = |(name, value)| plain(value).ok().map(|text| (name, text));
        let mut values: BTreeMap<String, String> =
            std::mem::take(&mut row.values).into_iter().filter_map(single).collect();
        values.extend(column.zip(label));
        Ok(Self { values, place: row.place, labelled })
    }

    fn is_labelled(&self) -> bool {
        self.labelled
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Dataset, Options, Order};
    use super::*;

    fn read(text: &str, options: &str) -> Vec<Result<Fields, Error>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        fs::write(&path, text).unwrap();
        let options: Options = serde_json::from_str(options).unwrap();
        Dataset::open(&[path], &options).unwrap().rows(Order::AsIs, 0).collect()
    }

    const ROWS: &str = "{\"a\": \"x y\", \"n\": 3, \"list\": [1], \"label\": 1}\n{\"a\": \"z\", \"label\": null}\n";

    #[test]
    fn columns_have_their_own_names() {
        let rows = read(ROWS, "{}");
        let (one, two) = (rows[0].as_ref().unwrap(), rows[1].as_ref().unwrap());
        assert_eq!(one.names(), ["a", "label", "n"]);
        assert_eq!(
            [one.get("a"), one.get("n"), one.get("label"), one.get("list")],
            [Some("x y"), Some("3"), Some("1"), None]
        );
        assert_eq!((two.names(), two.is_labelled()), (vec!["a"], true));
        assert!(two.place().to_string().ends_with("rows.jsonl, line 2"), "{}", two.place());
    }

    #[test]
    fn labels_have_the_names_that_were_given() {
        let rows = read(ROWS, r#"{"label_names": ["no", "yes"], "skip_unlabelled": true}"#);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].as_ref().unwrap().get("label"), Some("yes"));
        let error = read(ROWS, r#"{"label_names": ["no"]}"#)[0].as_ref().unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("label_names"), "{error}");
        let error = read(ROWS, r#"{"columns": {"label": "b"}}"#)[0].as_ref().unwrap_err().to_string();
        assert!(error.contains("\"b\""), "{error}");
    }
}
