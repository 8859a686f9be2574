//! Host applications of the mlops crates.
