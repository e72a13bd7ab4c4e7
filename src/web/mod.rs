//! HTTP as the service and the layer for APIs both speak it: the credential that is taken, the answer to a refusal, the client's
//! address, the request's id.

pub mod credential;
pub mod forwarded;
pub mod problem;
mod request_id;

pub use forwarded::client_address;
pub use problem::{FieldError, Problem};
pub use request_id::{REQUEST_ID, given_id};
