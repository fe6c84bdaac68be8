//! The grid solver against closed forms, brute force and laws of the problem.

mod oracles;
mod references;
mod support;
