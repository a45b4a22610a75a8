//! Inputs as they come: whoever generates asks for the next one when there is room for it, so that a stream of any length
//! is continued without being held.

/// What a feed of inputs gives when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fed<T> {
    /// The next input.
    Input(T),
    /// None for now; those that have begun go on meanwhile.
    Later,
    /// None any more.
    End,
}

impl<T> Fed<T> {
    /// The same of something made of the input.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Fed<U> {
        match self {
            Self::Input(input) => Fed::Input(make(input)),
            Self::Later => Fed::Later,
            Self::End => Fed::End,
        }
    }
}

impl<T> From<Option<T>> for Fed<T> {
    /// Of an iterator's next item.
    fn from(next: Option<T>) -> Self {
        next.map_or(Self::End, Self::Input)
    }
}
