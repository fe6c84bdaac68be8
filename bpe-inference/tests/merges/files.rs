//! Writes small tokenizer files of every format.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::training::Trained;

/// Single bytes in byte order, then the products: what every rank file holds.
pub(crate) fn ranks(trained: &Trained) -> Vec<(Vec<u8>, u32)> {
    let bytes = (0..=255_u8).map(|byte| vec![byte]);
    let products = trained.products().into_iter().map(String::into_bytes);
    bytes.chain(products).zip(0..).collect()
}

pub(crate) fn tiktoken(ranks: &[(Vec<u8>, u32)]) -> String {
    (ranks.iter())
        .map(|(text, rank)| format!("{} {rank}\n", STANDARD.encode(text)))
        .collect()
}

pub(crate) fn tekken(ranks: &[(Vec<u8>, u32)]) -> String {
    let vocab: Vec<Value> = (ranks.iter())
        .map(|(text, rank)| {
            json!({"rank": rank, "token_bytes": STANDARD.encode(text), "token_str": null})
        })
        .collect();
    let special = json!([{"rank": 0, "token_str": "<unk>", "is_control": true}]);
    let config = json!({"pattern": "\\p{L}+", "version": "v3"});
    json!({"config": config, "vocab": vocab, "special_tokens": special}).to_string()
}

pub(crate) fn anthropic(ranks: &[(Vec<u8>, u32)]) -> String {
    let mut lines = String::new();
    for (k, (text, rank)) in ranks.iter().enumerate() {
        if k % 100 == 0 {
            lines += &format!("{}! {rank}", if k > 0 { "\n" } else { "" });
        }
        lines += &format!(" {}", STANDARD.encode(text));
    }
    json!({"pat_str": "\\p{L}+", "special_tokens": {"<EOT>": 0}, "bpe_ranks": lines}).to_string()
}

/// Every split of every product into two tokens, product after product: what converters write.
pub(crate) fn all_splits(trained: &Trained) -> Vec<(String, String)> {
    let products = trained.products();
    let known = |text: &str| text.chars().count() == 1 || products.iter().any(|p| p == text);
    let mut splits = Vec::new();
    for product in &products {
        let cuts = product
            .char_indices()
            .skip(1)
            .map(|(k, _)| product.split_at(k));
        splits.extend(
            cuts.filter(|(left, right)| known(left) && known(right))
                .map(|(left, right)| (left.to_owned(), right.to_owned())),
        );
    }
    splits
}

/// A `tokenizer.json`; `merges` as strings or as arrays.
pub(crate) fn tokenizer_json(
    trained: &Trained,
    merges: &[(String, String)],
    byte_level: bool,
    arrays: bool,
) -> Value {
    let tokens = trained.letters.iter().cloned().chain(trained.products());
    let vocab: serde_json::Map<String, Value> = tokens
        .zip(1..)
        .map(|(token, id)| (token, json!(id)))
        .collect();
    let merges: Vec<Value> = (merges.iter())
        .map(|(left, right)| match arrays {
            true => json!([left, right]),
            false => json!(format!("{left} {right}")),
        })
        .collect();
    let pattern = json!({"Regex": "\\p{L}+"});
    let split = json!({"type": "Split", "pattern": pattern, "behavior": "Isolated"});
    let stages = match byte_level {
        true => json!([split, {"type": "ByteLevel", "use_regex": false}]),
        false => json!([split]),
    };
    json!({
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "<unk>", "special": true}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": stages},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    })
}

/// A piece of a SentencePiece model: text, score, type.
pub(crate) type Piece = (String, f32, u32);

/// Pieces as SentencePiece orders them: special, products with falling scores, letters.
pub(crate) fn pieces(trained: &Trained) -> Vec<Piece> {
    let learnt = trained
        .products()
        .into_iter()
        .chain(trained.letters.clone());
    let scored = learnt.enumerate().map(|(k, text)| (text, -(k as f32), 1));
    [("<unk>".to_owned(), 0.0, 2), ("<0x0A>".to_owned(), 0.0, 6)]
        .into_iter()
        .chain(scored)
        .collect()
}

/// A `.model` file; the second value is where its trainer settings end.
pub(crate) fn model(pieces: &[Piece], model_type: u8) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    for (text, score, kind) in pieces {
        let mut piece = field(1, text.as_bytes());
        piece.push(2 << 3 | 5);
        piece.extend(score.to_le_bytes());
        piece.extend([3 << 3, *kind as u8]);
        out.extend(field(1, &piece));
    }
    // Model type, maximal length 20, split_digits.
    let trainer = [3 << 3, model_type, 0xa0, 1, 20, 0xc8, 1, 1];
    out.extend(field(2, &trainer));
    let end = out.len();
    let normalizer = [field(1, b"identity"), vec![3 << 3, 0]].concat();
    out.extend(field(3, &normalizer));
    (out, end)
}

/// A length-delimited field.
pub(crate) fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(content);
    out
}

/// A value of GGUF metadata.
#[derive(Clone)]
pub(crate) enum Entry {
    Text(String),
    Texts(Vec<String>),
    Floats(Vec<f32>),
    Ints(Vec<i32>),
    /// An array of arrays of bytes, which no reader of tokenizers needs.
    Nested(Vec<Vec<u8>>),
}

pub(crate) fn gguf(entries: &[(&str, Entry)]) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend(0_u64.to_le_bytes());
    out.extend((entries.len() as u64).to_le_bytes());
    for (key, entry) in entries {
        string(&mut out, key);
        match entry {
            Entry::Text(text) => {
                out.extend(8_u32.to_le_bytes());
                string(&mut out, text);
            }
            Entry::Texts(texts) => {
                array(&mut out, 8, texts.len());
                texts.iter().for_each(|text| string(&mut out, text));
            }
            Entry::Floats(values) => {
                array(&mut out, 6, values.len());
                out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            }
            Entry::Ints(values) => {
                array(&mut out, 5, values.len());
                out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            }
            Entry::Nested(arrays) => {
                array(&mut out, 9, arrays.len());
                for bytes in arrays {
                    out.extend(0_u32.to_le_bytes());
                    out.extend((bytes.len() as u64).to_le_bytes());
                    out.extend(bytes);
                }
            }
        }
    }
    out
}

fn array(out: &mut Vec<u8>, element: u32, length: usize) {
    out.extend(9_u32.to_le_bytes());
    out.extend(element.to_le_bytes());
    out.extend((length as u64).to_le_bytes());
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A GGUF file with merges.
pub(crate) fn gguf_gpt2(trained: &Trained) -> Vec<u8> {
    let tokens = std::iter::once("<s>".to_owned())
        .chain(trained.letters.clone())
        .chain(trained.products());
    let tokens: Vec<String> = tokens.collect();
    let kinds = (0..tokens.len())
        .map(|k| if k == 0 { 3 } else { 1 })
        .collect();
    let merges = trained
        .merges
        .iter()
        .map(|(left, right)| format!("{left} {right}"))
        .collect();
    gguf(&[
        ("general.architecture", Entry::Text("llama".to_owned())),
        ("general.nested", Entry::Nested(vec![vec![1, 2], vec![]])),
        ("tokenizer.ggml.model", Entry::Text("gpt2".to_owned())),
        ("tokenizer.ggml.pre", Entry::Text("smollm".to_owned())),
        ("tokenizer.ggml.tokens", Entry::Texts(tokens)),
        ("tokenizer.ggml.token_type", Entry::Ints(kinds)),
        ("tokenizer.ggml.merges", Entry::Texts(merges)),
    ])
}

/// A GGUF file with scored pieces.
pub(crate) fn gguf_llama(pieces: &[Piece]) -> Vec<u8> {
    gguf(&[
        ("tokenizer.ggml.model", Entry::Text("llama".to_owned())),
        (
            "tokenizer.ggml.tokens",
            Entry::Texts(pieces.iter().map(|p| p.0.clone()).collect()),
        ),
        (
            "tokenizer.ggml.scores",
            Entry::Floats(pieces.iter().map(|p| p.1).collect()),
        ),
        (
            "tokenizer.ggml.token_type",
            Entry::Ints(pieces.iter().map(|p| p.2 as i32).collect()),
        ),
    ])
}

/// The source of a JS package; `padding` tokens are put before the others.
pub(crate) fn javascript(trained: &Trained, merges: &[(String, String)], padding: usize) -> String {
    let padded = (0..padding).map(|k| format!("<pad{k}>"));
    let tokens: Vec<String> = padded
        .chain(trained.letters.clone())
        .chain(trained.products())
        .collect();
    let id = |text: &String| tokens.iter().rposition(|token| token == text).unwrap();
    let ids: Vec<usize> = merges
        .iter()
        .flat_map(|(left, right)| [id(left), id(right)])
        .collect();
    let bytes: Vec<u8> = match tokens.len() <= 1 << 16 {
        true => ids
            .iter()
            .flat_map(|&id| (id as u16).to_le_bytes())
            .collect(),
        false => {
            let bits: String = ids.iter().map(|id| format!("{id:017b}")).collect();
            let bytes = bits.as_bytes().chunks(8);
            bytes
                .map(|byte| {
                    let text = format!("{:0<8}", std::str::from_utf8(byte).unwrap());
                    u8::from_str_radix(&text, 2).unwrap()
                })
                .collect()
        }
    };
    format!(
        "const llama_vocab_base64 = \"{}\"\n\nconst llama_merges_binary = \"{}\"\nexport default 1;\n",
        STANDARD.encode(tokens.join("\n")),
        STANDARD.encode(bytes)
    )
}
