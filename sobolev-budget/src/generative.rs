//! Neural maps under a Sobolev penalty.
