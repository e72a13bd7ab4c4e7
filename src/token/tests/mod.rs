//! Keys and signatures against what others know to go wrong.

mod published;
mod wycheproof;
