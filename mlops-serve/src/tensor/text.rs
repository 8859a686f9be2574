//! Text tensors: borrowed in four forms, owned in one.

use arrow_array::{Array, StringArray};

use crate::{Error, Result};

/// Borrowed texts, in whichever form the caller has them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Text<'a> {
    /// Borrowed strings.
    Borrowed(&'a [&'a str]),
    /// Owned strings.
    Owned(&'a [String]),
    /// An Arrow array without missing cells.
    Arrow(&'a StringArray),
    /// A buffer of ours.
    Packed(&'a TextBuf, usize, usize),
}

impl<'a> Text<'a> {
    /// The number of texts.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Borrowed(values) => values.len(),
            Self::Owned(values) => values.len(),
            Self::Arrow(values) => values.len(),
            Self::Packed(_, start, end) => end - start,
        }
    }

    /// Whether there is no text.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The text at this place.
    #[inline]
    pub fn get(self, index: usize) -> Option<&'a str> {
        match self {
            Self::Borrowed(values) => values.get(index).copied(),
            Self::Owned(values) => values.get(index).map(String::as_str),
            Self::Arrow(values) => (index < values.len()).then(|| values.value(index)),
            Self::Packed(values, start, end) => {
                let place = start.checked_add(index)?;
                if place < end { values.get(place) } else { None }
            }
        }
    }

    /// All texts, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a str> {
        // `get` answers for every index below `len`.
        (0..self.len()).map(move |index| self.get(index).unwrap_or_default())
    }
}

/// Owned texts, one after another in one allocation that is kept when the buffer is cleared.
///
/// ```
/// use mlops_serve::tensor::TextBuf;
///
/// let mut texts = TextBuf::default();
/// texts.push("new");
/// texts.push("returning");
/// assert_eq!(texts.get(1), Some("returning"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextBuf {
    values: String,
    ends: Vec<usize>,
}

impl TextBuf {
    /// Appends one text.
    pub fn push(&mut self, text: &str) {
        self.values.push_str(text);
        self.ends.push(self.values.len());
    }

    /// Forgets the texts, keeps the memory.
    pub fn clear(&mut self) {
        self.values.clear();
        self.ends.clear();
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text at this place.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.values.get(start..end)
    }

    pub(super) fn as_text(&self) -> Text<'_> {
        Text::Packed(self, 0, self.len())
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.values.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

impl<'a> TryFrom<&'a StringArray> for Text<'a> {
    type Error = Error;

    fn try_from(values: &'a StringArray) -> Result<Self> {
        match values.null_count() {
            0 => Ok(Self::Arrow(values)),
            nulls => Err(missing_cells(nulls, values.len())),
        }
    }
}

#[cold]
pub(super) fn missing_cells(nulls: usize, cells: usize) -> Error {
    Error::invalid(format!("{nulls} of {cells} cells are missing: fill them before they become a tensor"))
}
