//! What the files beside a `tokenizer.json` say: special tokens and the chat template.

use std::path::Path;

use serde_json::Value;

use super::{LmTokenizer, Settings};
use crate::{Error, Result};

/// The special tokens that chat templates may name.
const SPECIAL: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// Reads what there is in a folder.
pub(super) fn read(folder: &Path, tokenizer: &LmTokenizer) -> Result<Settings> {
    let config = json(&folder.join("tokenizer_config.json"))?;
    let map = json(&folder.join("special_tokens_map.json"))?;
    let generation = json(&folder.join("generation_config.json"))?;
    let spelt = |role: &str| spelling(&config[role]).or_else(|| spelling(&map[role]));
    let special = |role: &str| spelt(role).and_then(|token| tokenizer.id(token));
    let mut eos: Vec<u32> = special("eos_token").into_iter().collect();
    let more = match &generation["eos_token_id"] {
        Value::Array(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    for token in more.iter().filter_map(Value::as_u64) {
        let token = u32::try_from(token)
            .ok()
            .filter(|&token| tokenizer.token(token).is_some());
        eos.extend(token.filter(|token| !eos.contains(token)));
    }
    Ok(Settings {
        bos: special("bos_token"),
        eos,
        special: SPECIAL
            .into_iter()
            .filter_map(|role| Some((role, spelt(role)?.to_owned())))
            .collect(),
        template: template(folder, &config)?,
    })
}

/// The chat template: one, or the one called `default` of several.
fn template(folder: &Path, config: &Value) -> Result<Option<String>> {
    let file = folder.join("chat_template.jinja");
    if file.is_file() {
        return std::fs::read_to_string(&file)
            .map(Some)
            .map_err(Error::io(&file));
    }
    let text = match &config["chat_template"] {
        Value::Array(list) => {
            let default = list.iter().find(|template| template["name"] == "default");
            default.and_then(|template| template["template"].as_str())
        }
        single => single.as_str(),
    };
    Ok(text.map(str::to_owned))
}

/// A special token is its spelling or an object that has it.
fn spelling(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

/// A file's contents; `null` if it is not there.
fn json(path: &Path) -> Result<Value> {
    if !path.is_file() {
        return Ok(Value::Null);
    }
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    serde_json::from_str(&text).map_err(|error| Error::Parse {
        path: path.to_owned(),
        format: "JSON",
        reason: error.to_string(),
    })
}
