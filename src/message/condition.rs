//! `when`: the one small language of conditions, for routes, maps and tests.
