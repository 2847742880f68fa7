//! What containers and the supervisor say: from bytes to lines, from lines to log files and
//! terminals. Pure: `linux/output.rs` and `linux/log_writer.rs` move the bytes.

pub mod cri;
pub mod last_lines;
pub mod line;
pub mod message;
pub mod stream;
pub mod terminal;
pub mod wall_time;
