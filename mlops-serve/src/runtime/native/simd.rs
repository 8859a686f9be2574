//! Which vector instructions this machine has, and code compiled for them.

#[cfg(target_arch = "x86_64")]
use std::arch::is_x86_feature_detected;

/// Runs a function of the shape `fn(level, arguments)` compiled for the best instructions that the machine has.
///
/// The `unsafe` blocks are the calls into code that was compiled for AVX2 or AVX-512, right after the machine
/// was asked for them. A prototype of the network of the
/// benchmarks (64-128-32-1, one row) took 1.7 to 2.8 us so compiled, and 48 us with `mul_add` compiled for the
/// target's least machine.
macro_rules! dispatch {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $kernel:ident) => {
        $(#[$doc])*
        #[allow(unsafe_code, reason = "calls code for instructions that were detected right before")]
        #[inline]
        $vis fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) {
                    $kernel::<true>($($arg),*)
                }

                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) {
                    $kernel::<true>($($arg),*)
                }

                match $crate::runtime::native::simd::level() {
                    // SAFETY: `level` says so only if all features of `avx512` were detected.
                    $crate::runtime::native::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: `level` says so only if all features of `avx2` were detected.
                    $crate::runtime::native::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::runtime::native::simd::Level::Portable => {}
                }
            }
            $kernel::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}

pub(super) use dispatch;

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Level {
    /// What the target always has.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512 as of 2017.
    Avx512,
}

/// What this machine has. Detection is cached by the standard library: a load and a test.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(in crate::runtime) fn level() -> Level {
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        return Level::Portable;
    }
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    if avx512 { Level::Avx512 } else { Level::Avx2 }
}

/// `a * b + c`, fused where the instructions are there: the library function that stands in for it elsewhere
/// takes about twenty times as long as a multiplication and an addition.
#[inline(always)]
pub(super) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}
