//! The paper's own numbers, to print beside ours (arXiv 2407.16607v4, tables 2 to 4).

/// Mean and standard deviation of log10 MSE over the paper's 100 trials: pool, n, method.
pub(crate) fn controlled(pool: &str, n: usize, method: &str) -> Option<(f64, f64)> {
    let table: &[(&str, usize, &str, f64, f64)] = &[
        ("languages", 5, "random", -1.39, 0.36),
        ("languages", 5, "tee", -2.02, 0.41),
        ("languages", 5, "tc", -2.12, 0.49),
        ("languages", 5, "lp", -7.30, 1.31),
        ("languages", 10, "random", -1.84, 0.23),
        ("languages", 10, "tee", -2.29, 0.26),
        ("languages", 10, "tc", -2.55, 0.36),
        ("languages", 10, "lp", -7.66, 1.04),
        ("languages", 30, "random", -2.70, 0.13),
        ("languages", 30, "tee", -3.07, 0.16),
        ("languages", 30, "tc", -3.42, 0.23),
        ("languages", 30, "lp", -7.73, 1.12),
        ("code", 5, "random", -1.39, 0.36),
        ("code", 5, "tee", -2.54, 0.42),
        ("code", 5, "tc", -1.92, 0.36),
        ("code", 5, "lp", -6.46, 0.79),
        ("code", 10, "random", -1.84, 0.23),
        ("code", 10, "tee", -2.59, 0.24),
        ("code", 10, "tc", -2.38, 0.20),
        ("code", 10, "lp", -6.30, 0.64),
        ("code", 30, "random", -2.70, 0.13),
        ("code", 30, "tee", -3.15, 0.13),
        ("code", 30, "lp", -5.98, 1.11),
        ("domains", 5, "random", -1.39, 0.36),
        ("domains", 5, "tee", -1.69, 0.29),
        ("domains", 5, "tc", -1.64, 0.35),
        ("domains", 5, "lp", -3.74, 0.94),
    ];
    table
        .iter()
        .find(|row| (row.0, row.1, row.2) == (pool, n, method))
        .map(|row| (row.3, row.4))
}

/// The paper's estimates for off-the-shelf tokenizers, in percent of the training text.
pub(crate) struct Published {
    pub(crate) code: f64,
    /// Web, books, academic text and Wikipedia together.
    pub(crate) english: f64,
    /// All other languages together.
    pub(crate) other_languages: f64,
    /// Single languages by ISO 639-1 code.
    pub(crate) languages: &'static [(&'static str, f64)],
}

/// The paper's estimate for a tokenizer of the data kit, where it has one.
pub(crate) fn published(tokenizer: &str) -> Option<Published> {
    let row = |code, english, other_languages, languages| {
        Some(Published {
            code,
            english,
            other_languages,
            languages,
        })
    };
    match tokenizer {
        "gpt-2" => row(0.7, 99.1, 0.2, &[("ja", 0.1)]),
        "cl100k" => row(
            62.6,
            34.3,
            3.2,
            &[
                ("fr", 0.3),
                ("de", 0.4),
                ("es", 0.6),
                ("ru", 0.1),
                ("it", 0.3),
                ("pt", 0.3),
                ("nl", 0.1),
                ("pl", 0.1),
            ],
        ),
        "o200k" => row(
            32.8,
            28.1,
            39.0,
            &[
                ("fr", 2.9),
                ("de", 1.8),
                ("ar", 1.6),
                ("ja", 0.4),
                ("es", 2.8),
                ("ru", 2.8),
                ("tr", 0.6),
                ("it", 0.5),
                ("ko", 0.7),
                ("pt", 2.3),
                ("nl", 2.0),
                ("hi", 1.4),
                ("pl", 0.5),
                ("zh", 0.8),
            ],
        ),
        "llama" => row(
            19.2,
            49.1,
            31.7,
            &[
                ("fr", 5.3),
                ("de", 5.1),
                ("ja", 0.3),
                ("es", 2.7),
                ("ru", 2.6),
                ("it", 2.6),
                ("ko", 0.1),
                ("pt", 1.1),
                ("nl", 1.2),
                ("pl", 1.4),
            ],
        ),
        "llama-3" => row(
            30.2,
            21.3,
            48.5,
            &[
                ("fr", 1.8),
                ("de", 2.2),
                ("ar", 1.6),
                ("ja", 4.1),
                ("es", 2.0),
                ("ru", 3.4),
                ("tr", 3.2),
                ("it", 1.0),
                ("ko", 2.6),
                ("pt", 1.4),
                ("nl", 0.9),
                ("hi", 1.7),
                ("pl", 1.5),
                ("zh", 0.3),
            ],
        ),
        "mistral" => row(
            25.8,
            57.6,
            16.6,
            &[
                ("fr", 2.3),
                ("de", 2.1),
                ("ja", 0.2),
                ("es", 1.7),
                ("ru", 1.2),
                ("tr", 0.1),
                ("it", 1.5),
                ("ko", 0.1),
                ("pt", 0.5),
                ("nl", 0.6),
                ("pl", 0.7),
            ],
        ),
        "nemo" => row(
            18.3,
            35.0,
            46.6,
            &[
                ("fr", 6.3),
                ("de", 3.2),
                ("ar", 4.8),
                ("ja", 1.9),
                ("es", 3.7),
                ("ru", 2.6),
                ("tr", 0.4),
                ("it", 1.7),
                ("ko", 2.5),
                ("pt", 1.5),
                ("nl", 0.6),
                ("hi", 1.0),
                ("pl", 0.8),
                ("zh", 0.2),
            ],
        ),
        "claude" => row(
            57.5,
            38.9,
            3.7,
            &[
                ("de", 0.1),
                ("ru", 0.1),
                ("it", 0.3),
                ("ko", 0.1),
                ("pt", 0.5),
                ("nl", 0.1),
                ("zh", 0.1),
            ],
        ),
        _ => None,
    }
}
