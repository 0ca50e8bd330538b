//! Everything about money together.

mod scripted_day;
