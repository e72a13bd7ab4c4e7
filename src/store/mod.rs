//! The store: all state of the service.
mod data_dir;
mod private;

pub use data_dir::{DataDir, DataDirError};
pub use private::{PrivateRedis, PrivateRedisError};
