//! Linear algebra with error estimates: double-double numbers, small factorisations, and passes over tall tables.

pub(crate) mod double;
pub(crate) mod pass;
pub(crate) mod triangular;
pub(crate) mod whitening;
