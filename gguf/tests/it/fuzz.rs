//! What the fuzzing engine runs (`gguf/fuzz`), without the engine: its seeds, and changes of them.

use gguf::{ByteOrder, TensorType};
use proptest::prelude::*;

use crate::check;
use crate::file::{File, every_tensor, every_value, parts};

fn seeds() -> Vec<Vec<u8>> {
    let orders = [ByteOrder::Little, ByteOrder::Big];
    let of_order = |order| {
        let joined = parts(order).into_iter().flat_map(|(_, file)| {
            let bytes = file.bytes();
            [&(bytes.len() as u16).to_le_bytes(), bytes.as_slice()].concat()
        });
        let small = File::new(3, order)
            .key("llama.attention.head_count_kv", vec![2_i32, 1])
            .key("tokens", vec!["a".to_owned(), "b".repeat(20)])
            .key("general.alignment", 32_u32)
            .tensor("output.weight", &[32, 2], TensorType::Q8_0);
        [
            every_value(File::new(2, order)).bytes(),
            every_tensor(File::new(3, order)).bytes(),
            small.clone().part(0, 2, 1).bytes(),
            small.bytes(),
            joined.collect(),
        ]
    };
    orders.into_iter().flat_map(of_order).collect()
}

#[test]
fn every_seed_holds() {
    seeds().iter().for_each(|seed| check::anything(seed));
}

/// Every cut of a small file, and every byte of it changed to what hurts most.
#[test]
fn every_small_damage_holds() {
    for seed in seeds().iter().filter(|seed| seed.len() < 2500) {
        for place in 0..seed.len().min(600) {
            check::anything(&seed[..place]);
            for byte in [0, 1, 9, 0x7f, 0x80, 0xff] {
                let mut changed = seed.clone();
                changed[place] = byte;
                check::anything(&changed);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn damage_anywhere_holds(
        seed in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        inserted in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let seeds = seeds();
        let mut bytes = seed.get(&seeds).clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len().min(1000));
            bytes[place] = byte;
        }
        for (place, byte) in inserted {
            bytes.insert(place.index(bytes.len().min(1000)), byte);
        }
        check::anything(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        check::anything(&bytes);
    }
}
