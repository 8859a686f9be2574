//! Integration tests of `mlops-serve`: one binary, a module a subject.
