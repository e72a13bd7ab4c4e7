//! Hostile load: whoever floods the service is held to a bounded amount of memory, and live tokens go on being answered on
//! new connections.

mod connections;
mod files;
mod frames;
mod http2;
mod scene;
mod stop;
mod wire;
