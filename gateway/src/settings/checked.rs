//! Settings that can be served with: every default filled in, every value checked. [boot]

mod redis;
mod tls;
