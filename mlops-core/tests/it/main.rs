//! Integration tests of `mlops-core`: one binary, a module a subject.
