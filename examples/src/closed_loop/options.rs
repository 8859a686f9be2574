//! What the command line says.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// A web shop's conversion model through a year: train, gate, register, serve, watch, retrain, canary,
/// promote or roll back, in one process.
#[derive(Clone, Debug, Parser)]
#[command(name = "closed_loop")]
pub struct Options {
    /// Sessions to run on: CSV or Parquet with the columns of UCI's Online Shoppers log [default: a
    /// simulated shop]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,

    /// The folder that holds the registry, the records and where the loop stands; a second run goes on from
    /// there
    #[arg(long, value_name = "DIR", default_value = "closed_loop_state")]
    pub state: PathBuf,

    /// Write the summary to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// What answers: our own kernels, or ONNX Runtime
    #[arg(long, value_enum, default_value_t = RuntimeChoice::Native)]
    pub runtime: RuntimeChoice,

    /// The ONNX Runtime library, for `--runtime ort` [default: what ORT_DYLIB_PATH says]
    #[arg(long, value_name = "FILE")]
    pub ort_library: Option<PathBuf>,

    /// The seed of everything random
    #[arg(long, default_value_t = 42)]
    pub seed: u64,

    /// Sessions a month of the simulated shop, 200 to 1000000; not with --data
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1500,
        conflicts_with = "data",
        value_parser = clap::value_parser!(u32).range(200..=1_000_000)
    )]
    pub sessions: u32,
}

/// What answers requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RuntimeChoice {
    /// Our own kernels for trees and linear models.
    #[default]
    Native,
    /// ONNX Runtime.
    Ort,
}
