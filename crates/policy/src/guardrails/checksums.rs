//! The arithmetic by which numbers of cards, accounts and people are told from other numbers.
//!
//! Sources: ISO/IEC 7812-1 (Luhn), ISO 13616 (IBAN, mod 97), GB 11643-1999 (resident id of China), SSA "Social Security Number
//! Randomization" (numbers never issued), Real Decreto 1553/2005 (Spain), D.M. 23 December 1976 (Italy), INSEE's NIR with
//! key (France), ISO 7064 mod 11,10 (Germany's tax id), PESEL (Poland).

/// The digits of a text, whatever stands between them.
pub(super) fn digits(text: &str) -> Vec<u32> {
    text.bytes().filter(u8::is_ascii_digit).map(|byte| u32::from(byte - b'0')).collect()
}

/// Every second digit from the right is doubled; the sum of all digits ends in 0.
pub(super) fn luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let weigh = |(at, digit): (usize, &u32)| if at % 2 == 1 { doubled(*digit) } else { *digit };
    let sum: u32 = digits.iter().rev().enumerate().map(weigh).sum();
    sum.is_multiple_of(10)
}

/// How long an IBAN of this country is (SWIFT's registry, 2025).
pub(super) fn iban_length(country: &str) -> Option<usize> {
    const LENGTHS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18\
        FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24\
        ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28\
        TL23TN24TR26UA29VA22VG24XK20YE30";
    let rows = LENGTHS.as_bytes().chunks_exact(4);
    let row = rows.into_iter().find(|row| row.starts_with(country.as_bytes()))?;
    std::str::from_utf8(&row[2..]).ok()?.parse().ok()
}

/// `compact` is an IBAN without spaces, in capitals: its first four characters go to the end, letters count from 10, and
/// what is left over by 97 is 1.
pub(super) fn iban(compact: &str) -> bool {
    let bytes = compact.as_bytes();
    let (Some(head), Some(tail)) = (bytes.get(..4), bytes.get(4..)) else { return false };
    let mut rest = 0u32;
    for byte in tail.iter().chain(head) {
        rest = match byte {
            b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
            b'A'..=b'Z' => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
            _ => return false,
        };
    }
    rest == 1
}

/// Forms that were never issued: area 000, 666 and 900 to 999, group 00, serial 0000.
pub(super) fn us_ssn(d: &[u32]) -> bool {
    let area = d[0] * 100 + d[1] * 10 + d[2];
    area != 0 && area != 666 && area < 900 && d[3] + d[4] != 0 && d[5..9].iter().any(|digit| *digit != 0)
}

fn is_date(year: u32, month: u32, day: u32) -> bool {
    let most = match month {
        2 => 28 + u32::from(year.is_multiple_of(4)),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=most).contains(&day)
}

/// 17 digits and a check character, with a date of birth at the seventh.
pub(super) fn cn_id(text: &str) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let d = digits(&text[..17]);
    let year = d[6] * 1000 + d[7] * 100 + d[8] * 10 + d[9];
    if !(1880..2100).contains(&year) || !is_date(year, d[10] * 10 + d[11], d[12] * 10 + d[13]) {
        return false;
    }
    let sum: u32 = d.iter().zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
    "10X98765432".as_bytes()[(sum % 11) as usize] == text.as_bytes()[17].to_ascii_uppercase()
}

/// DNI (eight digits and a letter) and NIE (X, Y or Z, seven digits and a letter).
pub(super) fn es_id(text: &str) -> bool {
    let compact: Vec<u8> = text.bytes().filter(u8::is_ascii_alphanumeric).collect();
    let mut number = 0usize;
    for byte in &compact[..compact.len() - 1] {
        let digit = match byte {
            b'X' => 0,
            b'Y' => 1,
            b'Z' => 2,
            digit => digit - b'0',
        };
        number = number * 10 + usize::from(digit);
    }
    b"TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == compact[compact.len() - 1]
}

/// Codice fiscale: 15 characters, weighed by whether their place is odd or even, and a letter.
pub(super) fn it_id(text: &str) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let bytes = text.as_bytes();
    let sum: u32 = bytes[..15]
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            let value = usize::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
            if at % 2 == 0 { ODD[value] } else { u32::try_from(value).unwrap_or(0) }
        })
        .sum();
    u32::from(bytes[15] - b'A') == sum % 26
}

/// NIR: 13 characters and a key that is 97 less what 97 leaves over; Corsica's departments 2A and 2B count as 19 and 18.
pub(super) fn fr_id(text: &str) -> bool {
    let compact: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let compact = compact.replace("2A", "19").replace("2B", "18");
    let (Some(number), Some(key)) = (compact.get(..13), compact.get(13..)) else { return false };
    match (number.parse::<u64>(), key.parse::<u64>()) {
        (Ok(number), Ok(key)) => 97 - number % 97 == key,
        _ => false,
    }
}

/// Tax id: of the first ten digits one occurs twice or three times and no other more than once; ISO 7064 mod 11,10.
pub(super) fn de_id(d: &[u32]) -> bool {
    let count = |digit: u32| d[..10].iter().filter(|other| **other == digit).count();
    let counts: Vec<usize> = (0..10).map(count).collect();
    let repeated = counts.iter().filter(|count| **count > 1).count();
    if repeated != 1 || counts.iter().any(|count| *count > 3) {
        return false;
    }
    let mut product = 10;
    for digit in &d[..10] {
        let sum = (digit + product) % 10;
        product = (if sum == 0 { 10 } else { sum }) * 2 % 11;
    }
    (11 - product) % 10 == d[10]
}

/// PESEL: a date of birth, whose month tells the century, and weights 1, 3, 7, 9.
pub(super) fn pl_id(d: &[u32]) -> bool {
    const WEIGHTS: [u32; 11] = [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1];
    let sum: u32 = d.iter().zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
    let month = (d[2] * 10 + d[3]) % 20;
    sum.is_multiple_of(10) && is_date(d[0] * 10 + d[1], month, d[4] * 10 + d[5])
}
