//! Integration tests of `mlops-registry`: one binary, a module a subject.
