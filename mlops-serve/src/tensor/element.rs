//! The Rust types that tensors hold.

use half::f16;
use mlops_core::ElementType;

use super::buf::Storage;
use super::view::TensorData;

/// A fixed-size element of a tensor: [`f16`](struct@f16), `f32`, `f64`, `i32`, `i64` or `bool`. Text has its own path.
pub trait Element: Copy + Default + Send + Sync + sealed::Sealed + 'static {
    /// What the signature calls it.
    const TYPE: ElementType;

    #[doc(hidden)]
    fn of(data: TensorData<'_>) -> Option<&[Self]>;

    #[doc(hidden)]
    fn of_storage(storage: &mut Storage) -> Option<&mut Vec<Self>>;

    #[doc(hidden)]
    fn storage() -> Storage;
}

mod sealed {
    #[allow(unnameable_types, reason = "a seal: nobody outside may implement `Element`")]
    pub trait Sealed {}
}

macro_rules! element {
    ($($rust:ty => $variant:ident),*) => {$(
        impl sealed::Sealed for $rust {}

        impl Element for $rust {
            const TYPE: ElementType = ElementType::$variant;

            #[inline]
            fn of(data: TensorData<'_>) -> Option<&[Self]> {
                match data {
                    TensorData::$variant(values) => Some(values),
                    _ => None,
                }
            }

            #[inline]
            fn of_storage(storage: &mut Storage) -> Option<&mut Vec<Self>> {
                match storage {
                    Storage::$variant(values) => Some(values),
                    _ => None,
                }
            }

            fn storage() -> Storage {
                Storage::$variant(Vec::new())
            }
        }

        impl<'a> From<&'a [$rust]> for TensorData<'a> {
            #[inline]
            fn from(values: &'a [$rust]) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a> From<&'a Vec<$rust>> for TensorData<'a> {
            #[inline]
            fn from(values: &'a Vec<$rust>) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a, const N: usize> From<&'a [$rust; N]> for TensorData<'a> {
            #[inline]
            fn from(values: &'a [$rust; N]) -> Self {
                Self::$variant(values)
            }
        }
    )*};
}

element!(f16 => F16, f32 => F32, f64 => F64, i32 => I32, i64 => I64, bool => Bool);
