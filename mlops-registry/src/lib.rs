//! A linearizable, auditable model registry without a server, on any storage.
