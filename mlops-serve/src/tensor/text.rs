//! Text tensors: borrowed in several forms, owned in one.

use std::ops::Range;

use arrow_array::{Array, ArrayAccessor, LargeStringArray, StringArray, StringViewArray};

use crate::{Error, Result};

/// Borrowed texts, in whichever form the caller has them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Text<'a> {
    /// Borrowed strings.
    Borrowed(&'a [&'a str]),
    /// Owned strings.
    Owned(&'a [String]),
    /// From one place to before another of an Arrow array without missing cells.
    Arrow(&'a StringArray, usize, usize),
    /// The same, of one with 64-bit offsets.
    ArrowLarge(&'a LargeStringArray, usize, usize),
    /// The same, of one of views.
    ArrowView(&'a StringViewArray, usize, usize),
    /// The same, of a buffer of ours.
    Packed(&'a TextBuf, usize, usize),
}

impl<'a> Text<'a> {
    /// The number of texts.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Borrowed(values) => values.len(),
            Self::Owned(values) => values.len(),
            Self::Arrow(_, start, end)
            | Self::ArrowLarge(_, start, end)
            | Self::ArrowView(_, start, end)
            | Self::Packed(_, start, end) => end.saturating_sub(start),
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
            Self::Arrow(values, start, end) => value(&values, place(index, start, end)?),
            Self::ArrowLarge(values, start, end) => value(&values, place(index, start, end)?),
            Self::ArrowView(values, start, end) => value(&values, place(index, start, end)?),
            Self::Packed(values, start, end) => values.get(place(index, start, end)?),
        }
    }

    /// Some of them.
    pub(super) fn slice(self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let (from, to) = (range.start, range.end);
        Some(match self {
            Self::Borrowed(values) => Self::Borrowed(&values[range]),
            Self::Owned(values) => Self::Owned(&values[range]),
            Self::Arrow(values, start, _) => Self::Arrow(values, start + from, start + to),
            Self::ArrowLarge(values, start, _) => Self::ArrowLarge(values, start + from, start + to),
            Self::ArrowView(values, start, _) => Self::ArrowView(values, start + from, start + to),
            Self::Packed(values, start, _) => Self::Packed(values, start + from, start + to),
        })
    }

    /// All texts, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a str> {
        // `get` answers for every index below `len`.
        (0..self.len()).map(move |index| self.get(index).unwrap_or_default())
    }
}

/// Where the text of this index lies, if it is before the end.
#[inline]
fn place(index: usize, start: usize, end: usize) -> Option<usize> {
    start.checked_add(index).filter(|place| *place < end)
}

/// The text of this place, if the array is as long. Anybody can say that it ends later.
#[inline]
fn value<'a>(values: &impl ArrayAccessor<Item = &'a str>, place: usize) -> Option<&'a str> {
    (place < values.len()).then(|| values.value(place))
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

macro_rules! arrow {
    ($($array:ident => $form:ident),*) => {$(
        impl<'a> TryFrom<&'a $array> for Text<'a> {
            type Error = Error;

            fn try_from(values: &'a $array) -> Result<Self> {
                match values.null_count() {
                    0 => Ok(Self::$form(values, 0, values.len())),
                    nulls => Err(missing_cells(nulls, values.len())),
                }
            }
        }
    )*};
}

arrow!(StringArray => Arrow, LargeStringArray => ArrowLarge, StringViewArray => ArrowView);

#[cold]
pub(super) fn missing_cells(nulls: usize, cells: usize) -> Error {
    Error::invalid(format!("{nulls} of {cells} cells are missing: fill them before they become a tensor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_beyond_the_end_of_an_array_are_none() {
        let array = StringArray::from(vec!["a", "b", "c"]);
        let texts = Text::Arrow(&array, 1, 99);
        assert_eq!((texts.get(1), texts.get(2), texts.get(98)), (Some("c"), None, None));
        assert_eq!(Text::Arrow(&array, 2, 1).len(), 0);
    }
}
