//! The grid solver against closed forms, brute force and laws of the problem.

mod bad_input;
mod gradients;
mod invariances;
mod maps;
mod oracles;
mod paths;
mod references;
mod steps;
mod support;
