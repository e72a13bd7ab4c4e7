//! RSA keys that can be factored from their public half: CVE-2017-15361.
//!
//! Nemec, Sys, Svenda, Klinec, Matyas: "The Return of Coppersmith's Attack: Practical Factorization of Widely Used RSA Moduli",
//! ACM CCS 2017. The chips' library made its primes as `k·M + (65537^a mod M)`, M being the product of the first primes: 39 of them
//! for short keys, more for long ones. So a modulus, the product of two, is a power of 65537 modulo M, and modulo what divides M.

/// Of the primes up to 167; the first, 2, tells nothing.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];
const GENERATOR: u32 = 65537;

/// Whether this modulus (big-endian) is of such a make. One in 2^154 others is taken for one: 65537 has so much fewer powers than
/// there are remainders without a common divisor.
pub fn has_the_mark(modulus: &[u8]) -> bool {
    is_a_power(|prime| modulus.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % prime))
}

/// Whether the number with these remainders is a power of 65537, modulo all of the primes at once: in each the exponent is known
/// modulo the order, and two such statements agree if they do modulo what their orders have in common.
fn is_a_power(remainder: impl Fn(u32) -> u32) -> bool {
    let known: Option<Vec<(u32, u32)>> =
        PRIMES.iter().map(|prime| exponent_and_order(*prime, remainder(*prime))).collect();
    known.is_some_and(|known| {
        known.iter().all(|(one, order)| {
            known.iter().all(|(other, its_order)| one.abs_diff(*other).is_multiple_of(common(*order, *its_order)))
        })
    })
}

/// To which power 65537 is this remainder, and to which it is 1. `None`: it is no power.
fn exponent_and_order(prime: u32, remainder: u32) -> Option<(u32, u32)> {
    let powers = || std::iter::successors(Some(1), move |power| Some(power * (GENERATOR % prime) % prime));
    let order = (1..prime).zip(powers().skip(1)).find(|(_, power)| *power == 1)?.0;
    let exponent = (0..order).zip(powers()).find(|(_, power)| *power == remainder)?.0;
    Some((exponent, order))
}

fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modulus(hex: &str) -> Vec<u8> {
        hex.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn the_moduli_that_the_papers_authors_test_with_have_the_mark() {
        // crocs-muni/roca, mod01.txt and mod03.txt: 512 and 2048 bits.
        let (short, long) = (
            "944e13208a280c37efc31c3114485e590192adbb8e11c87cad60cdef0037ce99278330d3f471a2538fa667802ed2a3c44a8b7dea826e888d0aa341fd664f7fa7",
            "9dcd7420e420c270a68060eb8b5aa7457a9f6648f86fafed2775cc1f79ae962f1e63f1b9e51c55f9ea6fdc7332e9b0058c9ff2eb1fc89855029cf6aafe21e689\
             feb38ac9ffb12f1ce371bb5d0e9aae64161abce74b4244bf68f1edb4411f756a097c8929c14740245ea355f8332d1aa36bb50c7dcb4505da8de02e4e53d38f8d\
             f06097da7524df0df93db48eac8cc4af2d3a16257eb2b2adca6ba464e5974fa92550d31b1babf161e7692d00b86e3dd886ecab4abfbe1a8f8cc263ff4af55cdb\
             45f4249a5193925f5e983d762f0b6800943eb0267b08f42ed311ce1f5c86eacbc8ce4d3cb7a2fee1ef5641423a1cf4114e5ecf50034a60a412523af9e6f4aa11",
        );
        for hex in [short, long] {
            let mut modulus = modulus(hex);
            assert!(has_the_mark(&modulus), "{hex}");
            for byte in 0..modulus.len() {
                modulus[byte] ^= 2;
                assert!(!has_the_mark(&modulus), "{hex} with byte {byte} changed");
                modulus[byte] ^= 2;
            }
        }
    }

    #[test]
    fn powers_of_the_generator_have_the_mark_if_it_is_one_power_for_all_primes() {
        let power = |prime: u32, exponent: u32| (0..exponent).fold(1, |power, _| power * (GENERATOR % prime) % prime);
        for exponent in 0..200 {
            assert!(is_a_power(|prime| power(prime, exponent)), "{exponent}");
            assert!(!is_a_power(|prime| power(prime, exponent + u32::from(prime == 37))), "{exponent}, in 37 another");
        }
    }

    #[test]
    fn numbers_at_random_have_no_mark() {
        let mut modulus = [0; 256];
        for _ in 0..2000 {
            aws_lc_rs::rand::fill(&mut modulus).unwrap();
            assert!(!has_the_mark(&modulus), "{modulus:?}");
        }
    }

    #[test]
    fn no_modulus_and_a_multiple_of_a_prime_have_no_mark() {
        assert!(!has_the_mark(&[]));
        assert!(!has_the_mark(&[167]));
        assert!(has_the_mark(&[1]), "the power to nothing");
    }
}
