//! Arbitrary bytes as a saved map: what can be read has its values, and can be asked for any point.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sobolev_budget::GridMap;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(map) = serde_json::from_slice::<GridMap>(bytes) {
        assert_eq!(map.values().len(), map.grid().len() * map.dimension());
        let parameters = vec![0.7; map.grid().domain().dimension()];
        assert_eq!(map.eval(&parameters).map(|value| value.len()).ok(), Some(map.dimension()));
    }
});
