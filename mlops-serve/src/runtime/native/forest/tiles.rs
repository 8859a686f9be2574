//! Sixteen rows at a time, with vector instructions, where the trees allow it.

use super::bits::Bits;
use super::columns::{COLUMNS, Columns};
use super::heap::Heap;
use super::spec::{ForestSpec, Real};
use crate::runtime::native::simd::dispatch;
#[cfg(target_arch = "x86_64")]
use crate::runtime::native::simd::{Level, level};

/// Rows in a tile: a vector of AVX-512.
pub(super) const TILE: usize = 16;
/// A tile with fewer rows takes longer than to walk them.
pub(super) const TILE_MIN: usize = 8;

/// A forest laid out for tiles.
#[derive(Debug)]
pub(in crate::runtime::native) enum Tiles<T> {
    Heap(Heap<T>),
    Bits32(Bits<T, u32>),
    Bits64(Bits<T, u64>),
}

impl<T: Real> Tiles<T> {
    /// Lays out a forest whose nodes have one parent each and whose leaves have one weight for the only target;
    /// `None` if walking is faster.
    pub(super) fn new(spec: &ForestSpec<T>, columns: &Columns, depth: u32) -> Option<Self> {
        let vectors = vectors();
        if !T::TILES || vectors == Vectors::Narrow {
            return None;
        }
        let heap = Heap::new(spec, columns, depth).map(Self::Heap);
        let bits = || Bits::new(spec, columns).map(Self::Bits32);
        // Sets of 64 take twice the vectors, which other machines have too few of.
        let wide =
            || (vectors == Vectors::Wide).then(|| Bits::new(spec, columns)).flatten().map(Self::Bits64);
        heap.or_else(bits).or_else(wide)
    }

    pub(super) fn memory_usage(&self) -> usize {
        match self {
            Self::Heap(heap) => heap.memory_usage(),
            Self::Bits32(bits) => bits.memory_usage(),
            Self::Bits64(bits) => bits.memory_usage(),
        }
    }
}

dispatch! {
    /// Adds what the trees give for each row of a tile.
    pub(super) fn run_tile(tiles: &Tiles<f32>, x: &[[f32; TILE]; COLUMNS], y: &mut [f32; TILE]) = tile
}

#[inline(always)]
fn tile<const FUSED: bool>(tiles: &Tiles<f32>, x: &[[f32; TILE]; COLUMNS], y: &mut [f32; TILE]) {
    match tiles {
        Tiles::Heap(heap) => heap.run(x, y),
        Tiles::Bits32(bits) => bits.run::<32>(x, y),
        Tiles::Bits64(bits) => bits.run::<64>(x, y),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vectors {
    /// Without wide vectors a walk is faster.
    Narrow,
    /// As AVX2 has them.
    Medium,
    /// As AVX-512 has them.
    Wide,
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> Vectors {
    match level() {
        Level::Portable => Vectors::Narrow,
        Level::Avx2 => Vectors::Medium,
        Level::Avx512 => Vectors::Wide,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> Vectors {
    Vectors::Narrow
}
