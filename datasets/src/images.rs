//! Labelled images: one type for all of them, readers of the usual formats, and the sets of the kit.
//!
//! | function | reads |
//! |---|---|
//! | [`idx::read`], [`idx::read_folder`] | the IDX files of MNIST and its kin, plain or compressed |
//! | [`ImageFolder`] | PNG and JPEG files in a folder for each class, in a directory or a tar archive |
//! | [`fashion_mnist`] | Fashion-MNIST from the kit: 60,000 + 10,000 images |
//! | [`mnist`] | 10,000 images of MNIST from the kit |
//! | [`embedded::fashion_mnist`](crate::embedded::fashion_mnist) | the first 2,000 + 500 images of Fashion-MNIST |
//! | [`embedded::digits`](crate::embedded::digits) | 1,797 handwritten digits of 8 x 8 pixels |
//!
//! An [`ImageSet`] holds bytes; [`ImageSet::normalised`] turns those of a batch into what a network takes.
//!
//! ```
//! use fire_assay_datasets::embedded;
//! use rand::{SeedableRng as _, rngs::StdRng};
//!
//! let data = embedded::fashion_mnist();
//! let statistics = data.train.channel_statistics();
//! let (train, validation) = data.train.stratified_split(0.9, &mut StdRng::seed_from_u64(1))?;
//! let batch = train.normalised(&[0, 1, 2], &statistics);
//! assert_eq!(batch.len(), 3 * train.shape().values());
//! assert_eq!(train.len() + validation.len(), 2_000);
//! # Ok::<(), fire_assay_datasets::Error>(())
//! ```

mod folder;
pub mod idx;
mod kit;
mod set;
mod subset;

pub use folder::{Colour, FolderConfig, ImageFolder};
pub use kit::{FASHION_CLASSES, fashion_mnist, mnist};
pub use set::{ChannelStatistics, ImageSet, ImageShape, TrainTest};
