//! Sources and sinks whose code is the application's. Each runs in a Python process of its own: [`process`] starts it, and starts it
//! again when it ends. [`source`] and [`sink`] are what it is connected to; `spec/connectors.md` says how they talk.

pub mod process;
pub mod sink;
pub mod source;
