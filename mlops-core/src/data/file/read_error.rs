//! What ended a read: the reader itself, or bytes that are wrong.

use std::error::Error as StdError;
use std::io;
#[cfg(any(feature = "ipc", feature = "parquet"))]
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_schema::ArrowError;

use crate::Error;

type Boxed = Box<dyn StdError + Send + Sync>;

/// The error of the reader that an error of a decoder carries; without one the bytes are wrong, as `wrong` says.
#[cold]
pub(in crate::data) fn read_error(error: impl Into<Boxed>, wrong: &str) -> Error {
    of_reader(error.into()).unwrap_or_else(|error| Error::data(wrong).with_source(error))
}

/// What a decoder gives: those of arrow and parquet panic at some damaged bytes.
#[cfg(any(feature = "ipc", feature = "parquet"))]
pub(crate) fn caught<T>(decode: impl FnOnce() -> T) -> Result<T, &'static str> {
    catch_unwind(AssertUnwindSafe(decode)).map_err(|_| "the decoder panicked")
}

fn of_reader(error: Boxed) -> Result<Error, Boxed> {
    let error = match error.downcast::<Error>() {
        Ok(error) => return Ok(*error),
        Err(error) => error,
    };
    let error = match error.downcast::<io::Error>() {
        Ok(error) => return of_io(*error),
        Err(error) => error,
    };
    #[cfg(feature = "parquet")]
    let error = match error.downcast::<parquet::errors::ParquetError>() {
        Ok(error) => match *error {
            parquet::errors::ParquetError::External(error) => return of_reader(error),
            error => return Err(error.into()),
        },
        Err(error) => error,
    };
    match *error.downcast::<ArrowError>()? {
        ArrowError::IoError(_, error) => of_io(error),
        ArrowError::ExternalError(error) => of_reader(error),
        error => Err(error.into()),
    }
}

fn of_io(error: io::Error) -> Result<Error, Boxed> {
    use io::ErrorKind as Kind;
    match error.downcast::<Error>() {
        Ok(error) => Ok(error),
        Err(error)
            if matches!(error.kind(), Kind::UnexpectedEof | Kind::InvalidData | Kind::InvalidInput) =>
        {
            Err(error.into())
        }
        Err(error) => {
            Ok(Error::unavailable("the bytes cannot be read to their end: try again").with_source(error))
        }
    }
}
