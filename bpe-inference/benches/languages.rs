//! Ten languages of the data kit, for benchmarks on real text.

use fire_assay_datasets::text::{TextConfig, libreoffice_help};
use fire_assay_datasets::{FOLDER_VARIABLE, Kit};

const LANGUAGES: [&str; 10] = ["ca", "de", "en", "es", "fr", "it", "ja", "nl", "pl", "ru"];

/// Name and text of each language, up to `bytes` of each, if `FIRE_ASSAY_DATA` names a kit.
///
/// # Panics
/// If the kit lacks the packages.
pub(crate) fn languages(bytes: usize) -> Option<Vec<(String, String)>> {
    let kit = Kit::at(std::env::var_os(FOLDER_VARIABLE)?);
    let config = TextConfig::new().with_only(LANGUAGES).with_max_bytes(bytes);
    let texts = libreoffice_help(&kit, &config).unwrap_or_else(|error| panic!("{error}"));
    Some(
        texts
            .into_iter()
            .map(|text| (text.name, text.text))
            .collect(),
    )
}
