//! One error for the whole SDK: a kind that tells the caller what to do, a message, a source.

use std::error::Error as StdError;
use std::fmt;

/// Short for a result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Somebody else changed the state first: read it again, decide again.
    Conflict,
    /// The named thing does not exist.
    NotFound,
    /// A store, a network or a resource is out of reach or exhausted: try again later.
    Unavailable,
    /// The call is wrong: fix an argument.
    Invalid,
    /// The bytes or the values are wrong: look at where they came from.
    Data,
    /// This back end, format or build cannot do it.
    Unsupported,
    /// An invariant of this library broke: please report it.
    Internal,
}

/// An error of any `mlops` crate: one word wide, with a kind, a message and an optional source.
///
/// The message is lower case and names the value, the limit and the way out. `Display` prints the
/// message alone; the causes are reached through [`source`](StdError::source), or printed in one line
/// by the alternate form `{:#}`.
///
/// ```
/// use mlops_core::{Error, ErrorKind};
///
/// let cause = std::io::Error::other("disk is full");
/// let error = Error::unavailable("cannot write `state/log`: free some space and run again").with_source(cause);
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert!(error.is_retryable());
/// assert_eq!(format!("{error:#}"), "cannot write `state/log`: free some space and run again: disk is full");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync + 'static>>,
}

impl Error {
    /// An error of the given kind.
    #[cold]
    #[inline(never)]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// Somebody else changed the state first.
    #[cold]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// The named thing does not exist.
    #[cold]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// A resource is out of reach or exhausted.
    #[cold]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// The call is wrong.
    #[cold]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// The bytes or the values are wrong.
    #[cold]
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// This back end, format or build cannot do it.
    #[cold]
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// An invariant of this library broke.
    #[cold]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync + 'static>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// A new error of the same kind that says what was being done; this one becomes its source.
    ///
    /// ```
    /// use mlops_core::Error;
    ///
    /// let error = Error::not_found("alias `champion` does not exist").context("cannot load `shop`");
    /// assert_eq!(format!("{error:#}"), "cannot load `shop`: alias `champion` does not exist");
    /// ```
    #[cold]
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self::new(self.kind(), message).with_source(self)
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without a change: true for `Unavailable` alone.
    ///
    /// A `Conflict` is not retryable as it stands: read the new state and decide again.
    pub fn is_retryable(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if f.alternate() {
            let mut cause = self.source();
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// `NotFound` of a file that is missing, `Data` of bytes that are cut off or no text, `Invalid` where the same call cannot
/// succeed later (no permission, a wrong argument, a file that exists already, a read-only disk, a file that should be a
/// folder or the reverse), else `Unavailable`: so `?` works on the files that a pipeline step reads. Say which file it is
/// by [`context`](Error::context).
///
/// ```
/// use mlops_core::{Error, ErrorKind, Result};
///
/// fn read(path: &str) -> Result<String> {
///     let text = std::fs::read_to_string(path).map_err(|e| Error::from(e).context(format!("reading `{path}`")))?;
///     Ok(text.trim().to_owned())
/// }
///
/// assert_eq!(read("no such file").unwrap_err().kind(), ErrorKind::NotFound);
/// ```
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        match error.kind() {
            Io::NotFound => Self::not_found("a file or folder is missing").with_source(error),
            Io::InvalidData | Io::UnexpectedEof => {
                Self::data(format!("the bytes are not what they should be: {}", error.kind()))
                    .with_source(error)
            }
            kind if is_lasting(kind) => {
                Self::invalid(format!("reading or writing failed: {kind}: change the path or its rights"))
                    .with_source(error)
            }
            kind => Self::unavailable(format!("reading or writing failed: {kind}: try again later"))
                .with_source(error),
        }
    }
}

/// Whether the same call fails again, however often it is repeated.
pub(crate) fn is_lasting(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind as Io;
    matches!(
        kind,
        Io::PermissionDenied
            | Io::InvalidInput
            | Io::InvalidFilename
            | Io::AlreadyExists
            | Io::ReadOnlyFilesystem
            | Io::NotADirectory
            | Io::IsADirectory
            | Io::Unsupported
    )
}

impl From<arrow_schema::ArrowError> for Error {
    fn from(error: arrow_schema::ArrowError) -> Self {
        match error {
            arrow_schema::ArrowError::IoError(..) | arrow_schema::ArrowError::MemoryError(_) => {
                Self::unavailable("arrow ran out of memory, or could not read or write").with_source(error)
            }
            error => Self::data("arrow rejected the data").with_source(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_wide_and_shareable() {
        fn shareable<T: Send + Sync + 'static>() {}
        shareable::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn what_fails_again_is_not_retried() {
        use std::io::ErrorKind as Io;
        let lasting = [
            Io::PermissionDenied,
            Io::InvalidInput,
            Io::AlreadyExists,
            Io::ReadOnlyFilesystem,
            Io::NotADirectory,
            Io::IsADirectory,
        ];
        for kind in lasting {
            let error = Error::from(std::io::Error::from(kind));
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(!error.is_retryable() && error.to_string().contains(&kind.to_string()), "{error}");
        }
        for kind in [Io::ConnectionRefused, Io::TimedOut, Io::StorageFull, Io::Other] {
            let error = Error::from(std::io::Error::from(kind));
            assert!(error.is_retryable() && error.to_string().contains(&kind.to_string()), "{error}");
        }
        let folder = std::fs::read(".").unwrap_err();
        assert_eq!(Error::from(folder).kind(), ErrorKind::Invalid);
        assert_eq!(Error::from(std::io::Error::from(Io::UnexpectedEof)).kind(), ErrorKind::Data);
    }

    #[test]
    fn display_never_repeats_the_source() {
        let error = Error::data("bad row 3").with_source(std::io::Error::other("short read"));
        assert_eq!(error.to_string(), "bad row 3");
        assert_eq!(format!("{error:?}"), "Data: bad row 3: short read");
    }
}
