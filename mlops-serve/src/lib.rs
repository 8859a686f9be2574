//! Answer with a model in the caller's process: runtimes, hot swap, rollout, capture.
