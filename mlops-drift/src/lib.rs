//! Drift tests, distances, calibrated stream detectors and monitors.
