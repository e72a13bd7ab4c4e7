//! The store: all state of the service.
