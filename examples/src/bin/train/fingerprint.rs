//! Data told apart by a hash, so that a training is not resumed on other data of the same size.

use xxhash_rust::xxh3::Xxh3;

/// The hash of some parts, which also depends on where each of them ends: 32 hexadecimal digits.
pub(crate) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Xxh3::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    format!("{:032x}", hasher.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_order_and_borders_count() {
        let of = |parts: &[&str]| fingerprint(parts.iter().map(|part| part.as_bytes()));
        let all = [
            of(&["ab", "c"]),
            of(&["ab", "d"]),
            of(&["c", "ab"]),
            of(&["a", "bc"]),
        ];
        for (n, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 32);
            assert!(!all[..n].contains(one));
        }
        assert_eq!(of(&["ab", "c"]), all[0]);
    }
}
